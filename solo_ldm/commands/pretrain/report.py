"""What `solo-ldm pretrain` prints at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from solo_ldm.commands.shared.inputs import rows_of_features
from solo_ldm.commands.shared.texts import RETRIEVAL, recalls_in_words
from solo_ldm.data.datasets.memory import in_memory
from solo_ldm.run.fit import Fitted
from solo_ldm.run.record import print_summary


def print_report(run: Fitted, results: dict[str, Any], console: Console) -> None:
    """Say what was made, how good it is, where it is and what to do next."""
    title = f"{results['method']} on {results['dataset']}"
    print_summary(console, title, _rows(run, results), run.folder.path, _follow_ups(run, results))


def _rows(run: Fitted, results: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    folder, rate = run.folder, results["images_per_second"]
    yield (
        "trained",
        f"{results['epochs']} epochs in {results['seconds']:.0f} s, {rate:.0f} images/s",
    )
    for protocol, score in results["results"].items():
        top1 = (f"{score['top1']:.4f}", "bold green")
        yield protocol, Text.assemble(top1, f" top-1 ({_qualified(score)})")
    if RETRIEVAL in results:
        yield from recalls_in_words(results[RETRIEVAL])
    if results["results"] or RETRIEVAL in results:
        yield from rows_of_features(run.module.backbone)
        yield "scored on", results["scored_on"]
    else:
        yield "scores", f"none: {_why_none(run)}"
        for name in ("effective_rank", "std", "mean_cosine"):
            if f"z_{name}" in results["health"]:
                yield (
                    name.replace("_", " "),
                    f"{results['health'][f'z_{name}']:.3g} (of the latents)",
                )
    if "z_prototypes_in_use" in results["health"]:
        yield "prototypes", f"{results['health']['z_prototypes_in_use']:.1f} in use"
    for split, images in results["unreadable_images"].items():
        yield "unreadable", f"{images['count']} of the {split} images; see results.json"
    for split, number in results["clipped_images"].items():
        yield "clipped", f"{number} of the {split} images, to data.range"
    names = [folder.backbone.name, folder.results.name, folder.metrics.name]
    names += [folder.report.name] if folder.report.exists() else []
    yield "files", ", ".join([*names, "checkpoints/"])


def _why_none(run: Fitted) -> str:
    """Say why there is no score."""
    data, count = run.data, run.data.num_val_images
    if not run.cfg.evaluation.protocols:
        return "evaluation.protocols=[]"
    if not data.num_classes:
        asked = " (data.no_labels=true)" if data.data.no_labels else ""
        return f"the training images have no labels{asked}"
    if count:
        return f"none of the {count} validation images can be read"
    return "there are no labelled validation images (data.val_path, data.val_fraction)"


def _qualified(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    parts = [f"95 % {low:.3f} to {high:.3f}", f"ECE {score['ece']:.3f}"]
    if "chance" in score:
        parts.insert(0, f"chance {score['chance']:.4f}")
    if score["untrained_top1"] is not None:
        parts.insert(0, f"untrained {score['untrained_top1']:.4f}")
    return "; ".join([*parts, f"{score['num_test']} images"])


def _follow_ups(run: Fitted, results: dict[str, Any]) -> list[str]:
    folder = run.folder
    other = "sphereprob" if run.cfg.method == "gaussprob" else "gaussprob"
    commands = [
        f"solo-ldm pretrain --config-name {other} method_kwargs.entropy=neighbour",
        "solo-ldm pretrain --config-name gaussprob data=image_folder data.train_path=FOLDER",
        f'solo_ldm.load("{folder.path}").features(images)  # in Python',
    ]
    if in_memory(run.cfg.data.train_path):
        return commands[-1:]  # no command has these images
    if results["results"]:
        commands.insert(0, f"solo-ldm linear {folder.path}  # or solo-ldm knn")
    if run.cfg.method == "cross" and run.data.source("val"):
        key = (
            'prompts=["a drawing of a {}"]' if run.data.num_val_images else "protocols=[retrieval]"
        )
        commands.insert(0, f"solo-ldm zeroshot {folder.path} '{key}'")
    # What these two read: a latent of an image, and not of a patch.
    latent = None if run.cfg.method == "masked" else results.get("latent")
    if str(latent).startswith("categorical"):
        commands.insert(0, f"solo-ldm clusters {folder.path}")
    if latent == "conditional":
        commands.insert(0, f"solo-ldm uncertainty {folder.path}")
    return commands
