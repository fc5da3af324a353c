"""The clusters that a run found: from its weights to results.json, a table and a picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from rich.text import Text
from scipy.special import entr

from solo_ldm.commands.clusters.picture import NUM_PICTURED, Pictured, write_clusters
from solo_ldm.commands.shared.inputs import images_since, spread
from solo_ldm.commands.shared.views import pictured, plain_images
from solo_ldm.config.places import results_folder
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.data.sources.unreadable import Unreadable
from solo_ldm.evaluation.clusters import most_and_least, score_clusters
from solo_ldm.files import write_csv, write_json
from solo_ldm.latents import LatentModel, ProductLatent
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome, print_summary, provenance
from solo_ldm.weights.trained_method import TrainedMethod, load_method


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Do the work of `solo_ldm.commands.clusters`, with the completed configuration."""
    console = plain_console(console)
    started = time.perf_counter()
    trained = load_method(cfg.pretrained_feature_extractor, cfg.accelerator, cfg.data)
    for notice in (*trained.data.notices, *images_since(trained.folder.path, trained.data)):
        console.print(notice, style="yellow", soft_wrap=True)
    folder = results_folder(cfg.output or trained.folder.path / "evaluation/clusters")
    source, indexes, shares = _categories(trained, _category_columns(trained), cfg, console)
    labels, clusters = source.labels[indexes], shares.argmax(axis=1)
    entropies = entr(shares).sum(axis=1)
    num_categories = shares.shape[1]
    scores = score_clusters(clusters, labels, num_categories, trained.data.num_classes)
    results = {
        **trained.origin(),
        "pair_match": trained.cfg.data.get("pair_match"),
        "num_categories": num_categories,
        "classes": list(trained.data.classes),
        **asdict(scores),
        "mean_entropy": float(entropies.mean()),
        "entropy_of_mean": float(entr(shares.mean(axis=0)).sum()),
        "seed": trained.cfg.seed,
        **provenance(trained.hardware),
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_json(folder / "results.json", results)
    named = np.asarray(scores.class_of_cluster)[clusters]
    columns = (indexes, labels, clusters, named, entropies, *shares.T)
    names = ["index", "label", "cluster", "named", "entropy"]
    names += [f"q{number}" for number in range(num_categories)]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    write_csv(folder / "clusters.csv", names, rows)

    def show(places: np.ndarray) -> list[Pictured]:
        return pictured(trained.data, source, indexes[places], entropies[places])

    images = {}
    for cluster in np.unique(clusters).tolist():
        members = np.flatnonzero(clusters == cluster)
        most, least = most_and_least(entropies, members, NUM_PICTURED)
        images[cluster] = (show(most), show(least))
    write_clusters(
        folder / "clusters.png",
        title=f"{trained.cfg.name}: clusters of {len(labels)} held-out images",
        results=results,
        entropies=entropies,
        images=images,
    )
    _print_report(results, folder, console)
    return Outcome(RunFolder(folder), results)


def _category_columns(trained: TrainedMethod) -> slice:
    """Return which dimensions of the latents are categories: all, or a block's."""
    latent: LatentModel | None = getattr(getattr(trained.method, "objective", None), "latent", None)
    if latent is not None and latent.support == "simplex":
        return slice(None)
    if isinstance(latent, ProductLatent):
        columns = latent.columns("simplex")
        if columns is not None:
            return columns
    raise ValueError(
        f"{trained.folder.path} has no categories: expected a run with method_kwargs.latent="
        "categorical (--config-name categorical) or a product with such a block, got "
        f"{trained.cfg.method_kwargs.get('latent') or trained.cfg.method}"
    )


def _categories(
    trained: TrainedMethod, columns: slice, cfg: DictConfig, console: Console
) -> tuple[ImageSource, np.ndarray, np.ndarray]:
    """Return the held-out images that can be read: source, indexes (N,), probabilities (N, n)."""
    source = trained.held_out()
    indexes = source.labelled[spread(len(source.labelled), cfg.num_images)]
    unreadable = Unreadable(source)
    made: list[np.ndarray] = []
    starts = range(0, len(indexes), cfg.batch_size)
    with torch.inference_mode():
        for start in track(starts, "categories", console=console, transient=True):
            chosen = indexes[start : start + cfg.batch_size]
            images = plain_images(trained.data, source, chosen, unreadable)
            if len(images):
                latents = trained.method(images.to(trained.hardware.device))["z"]
                made.append(latents[:, columns].double().cpu().numpy())
    if not made:
        raise ValueError(f"{trained.cfg.data.dataset}: none of the held-out images can be read")
    indexes = np.array([index for index in indexes.tolist() if index not in unreadable])
    return source, indexes, np.concatenate(made)


def _print_report(results: dict[str, Any], folder: Path, console: Console) -> None:
    """Print how well clusters name classes, what they miss, and where the files are."""
    named, unused = results["class_of_cluster"], results["num_used"] < results["num_categories"]
    missed = [name for number, name in enumerate(results["classes"]) if number not in named]

    def rows() -> Iterator[tuple[str, str | Text]]:
        accuracy = (f"{results['accuracy']:.4f}", "bold green")
        yield "accuracy", Text.assemble(accuracy, " one cluster a class")
        yield "purity", f"{results['purity']:.4f} each cluster by its most frequent class"
        yield (
            "information",
            f"{results['normalised_mutual_information']:.4f} normalised mutual information, "
            f"adjusted Rand index {results['adjusted_rand']:.4f}",
        )
        yield (
            "clusters",
            f"{results['num_used']} of {results['num_categories']} used; entropy of their shares "
            f"{results['entropy_of_mean']:.3f} nats, of an image {results['mean_entropy']:.3f}",
        )
        if missed:
            more = f" and {len(missed) - 5} more" if len(missed) > 5 else ""
            yield "unnamed", f"no cluster of its own: {', '.join(missed[:5])}{more}"
        yield "files", "results.json, clusters.csv, clusters.png"

    title = f"clusters of {results['name']} in {results['num_images']} held-out images"
    follow_up = (
        "another seed, or --config-name categorical with more method_kwargs.entropy_weight or a "
        "lower method_kwargs.first_match_probability"
    )
    follow_ups = [follow_up] if missed and unused else []
    print_summary(console, title, rows(), folder, follow_ups)
