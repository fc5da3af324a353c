"""The clusters that a run found: from a run to clusters.json, .csv and .png."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from torch import Tensor

from solo_ldm.commands.clusters.picture import ClustersData, Pictured, write_clusters
from solo_ldm.commands.clusters.report import print_clusters
from solo_ldm.data.backends.torchvision import EvaluationImages
from solo_ldm.data.sources.unreadable import Unreadable
from solo_ldm.evaluation.clusters import entropy_of, most_and_least, score_clusters
from solo_ldm.files import write_atomically, write_json
from solo_ldm.latents import LatentModel, ProductLatent
from solo_ldm.run.provenance import commit, hardware_name, versions
from solo_ldm.weights.trained_method import TrainedMethod, load_method

# Of each cluster, the most certain and as many of the least certain.
_PICTURED = 5


@dataclass(frozen=True)
class ClustersOutcome:
    """What an evaluation left behind.

    Args:
        folder: where clusters.json, clusters.csv and clusters.png are.
        results: the content of clusters.json.
    """

    folder: Path
    results: dict[str, Any]


@dataclass(frozen=True)
class _Categories:
    """Held-out images with their probabilities.

    Args:
        indexes: (N,) in the held-out set.
        labels: (N,).
        probabilities: (N, n) of the categories.
    """

    indexes: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray


def run(cfg: DictConfig, console: Console | None = None) -> ClustersOutcome:
    """Compare the categories that a run finds in its held-out images with their classes.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, a run without categories, no held-out images.
        FileNotFoundError: in one line: a run or data that are not there.
    """
    console = console or Console()
    started = time.perf_counter()
    run = load_method(cfg.run, cfg.accelerator)
    columns = _category_columns(run)
    found = _categories(run, columns, cfg, console)
    chosen = found.probabilities.argmax(axis=1)
    uncertainty = entropy_of(found.probabilities)
    num_categories = found.probabilities.shape[1]
    scores = score_clusters(chosen, found.labels, num_categories, run.data.num_classes)
    results = {
        "run": str(run.folder.path),
        "name": run.cfg.name,
        "method": run.cfg.method,
        "dataset": run.cfg.data.dataset,
        "epoch": run.epoch,
        "pair_match": run.cfg.data.get("pair_match"),
        "num_categories": num_categories,
        "classes": list(run.data.classes),
        **asdict(scores),
        "mean_entropy": float(uncertainty.mean()),
        "entropy_of_mean": float(entropy_of(found.probabilities.mean(axis=0)[None])[0]),
        "seed": run.cfg.seed,
        "hardware": hardware_name(run.hardware),
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 3),
    }
    folder = Path(cfg.output) if cfg.output else run.folder.path / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "clusters.json", results)
    _write_table(folder / "clusters.csv", found, chosen, uncertainty, results)
    write_clusters(
        folder / "clusters.png",
        ClustersData(
            title=f"{run.cfg.name}: clusters of {len(found.labels)} held-out images",
            results=results,
            entropies=uncertainty,
            images=_pictured(run, found, chosen, uncertainty),
        ),
    )
    print_clusters(results, folder, console)
    return ClustersOutcome(folder, results)


def _category_columns(run: TrainedMethod) -> slice:
    """Return which dimensions of the latents are categories: all, or a block's."""
    latent: LatentModel | None = getattr(getattr(run.method, "objective", None), "latent", None)
    if latent is not None and latent.support == "simplex":
        return slice(None)
    if isinstance(latent, ProductLatent):
        columns = latent.columns("simplex")
        if columns is not None:
            return columns
    raise ValueError(
        f"{run.folder.path} has no categories: expected a run with method_kwargs.latent="
        "categorical (--config-name categorical) or a product with such a block, got "
        f"{run.cfg.method_kwargs.get('latent') or run.cfg.method}"
    )


def _categories(
    run: TrainedMethod, columns: slice, cfg: DictConfig, console: Console
) -> _Categories:
    """Return the categories of the held-out images that can be read."""
    source = run.data.source("val")
    if source is None or not len(source.labelled):
        raise ValueError(
            f"{run.cfg.data.dataset}: there are no held-out images to compare; the run needs "
            "labelled images with data.val_fraction or data.val_path"
        )
    labelled = source.labelled
    places = np.linspace(0, len(labelled) - 1, min(cfg.num_images, len(labelled)))
    indexes = labelled[places.astype(np.int64)]
    unreadable = Unreadable(source)
    dataset = EvaluationImages(
        source, indexes, run.data.image_size, run.data.mean, run.data.std, unreadable
    )
    made: list[Tensor] = []
    starts = range(0, len(indexes), cfg.batch_size)
    with torch.inference_mode():
        for start in track(starts, "categories", console=console, transient=True):
            rows = range(start, min(start + cfg.batch_size, len(indexes)))
            images = dataset.__getitems__(list(rows))[0]
            if len(images):
                latents = run.method(images.to(run.hardware.device))["z"]
                made.append(latents[:, columns].double().cpu())
    readable = np.array([index not in unreadable for index in indexes.tolist()])
    if not made:
        raise ValueError(f"{run.cfg.data.dataset}: none of the held-out images can be read")
    indexes = indexes[readable]
    return _Categories(indexes, source.labels[indexes], torch.cat(made).numpy())


def _pictured(
    run: TrainedMethod, found: _Categories, chosen: np.ndarray, uncertainty: np.ndarray
) -> dict[int, Pictured]:
    """Return the most and the least certain images of each cluster, with their entropies."""
    source = run.data.source("val")
    assert source is not None, "its images were classified"
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (run.data.mean, run.data.std))

    def show(places: np.ndarray) -> list[tuple[np.ndarray, float]]:
        if not len(places):
            return []
        dataset = EvaluationImages(
            source, found.indexes[places], run.data.image_size, run.data.mean, run.data.std
        )
        views = dataset.__getitems__(list(range(len(places))))[0]
        pixels = (views * std + mean).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        return [(one, float(uncertainty[at])) for one, at in zip(pixels, places, strict=True)]

    pictured = {}
    for cluster in np.unique(chosen).tolist():
        members = np.flatnonzero(chosen == cluster)
        most, least = most_and_least(uncertainty, members, _PICTURED)
        pictured[cluster] = Pictured(show(most), show(least))
    return pictured


def _write_table(
    path: Path,
    found: _Categories,
    chosen: np.ndarray,
    uncertainty: np.ndarray,
    results: dict[str, Any],
) -> None:
    """Write a row an image: its number in the held-out set, label, cluster and probabilities."""
    named = results["class_of_cluster"]

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as stream:
            writer = csv.writer(stream)
            probabilities = [f"q{number}" for number in range(results["num_categories"])]
            writer.writerow(["index", "label", "cluster", "named", "entropy", *probabilities])
            for row, cluster in enumerate(chosen.tolist()):
                writer.writerow(
                    [
                        int(found.indexes[row]),
                        int(found.labels[row]),
                        cluster,
                        named[cluster],
                        f"{uncertainty[row]:.6g}",
                        *(f"{value:.6g}" for value in found.probabilities[row]),
                    ]
                )

    write_atomically(path, write)
