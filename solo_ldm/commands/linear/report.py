"""After a linear evaluation: results.json, confusion.png, and the summary on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from solo_ldm.commands.shared.inputs import Evaluation
from solo_ldm.evaluation.protocols import TRAINED
from solo_ldm.evaluation.scores import Score
from solo_ldm.plotting.confusion import write_confusion
from solo_ldm.run.record import print_summary


def content_of(work: Evaluation, score: Score) -> dict[str, Any]:
    """Return the content of results.json: the score, what it is of, and its origin."""
    cfg, trains = work.cfg, work.cfg.protocol in TRAINED
    names = work.class_names(len(score.per_class))
    return {
        **score.as_dict(),
        "per_class": dict(zip(names, score.per_class, strict=False)),
        "seed": cfg.seed if trains else None,
        "seeds": None,
        **work.origin(),
        "pretrain_method": work.pretrained.method or cfg.pretrain_method,
        "data_backend": work.data.backend,
        "precision": work.hardware.precision if trains else "32-true",
    }


def write_picture(work: Evaluation, results: dict[str, Any]) -> None:
    """Write confusion.png, unless there are too many classes."""
    if results["confusion"] is not None:
        title = f"{work.cfg.protocol} of {results['backbone']} on {results['dataset']}"
        write_confusion(
            work.folder.confusion,
            results["confusion"],
            results["classes"],
            title,
            results["interval"],
        )


def print_report(work: Evaluation, results: dict[str, Any], console: Console) -> None:
    """Print how good the backbone is, where the files are and what to do next."""
    title = f"{results['protocol']} on {results['dataset']}"
    other = "linear-offline" if work.cfg.protocol != "linear-offline" else "finetune"
    follow_up = f"solo-ldm linear {results['source']} protocol={other}"
    print_summary(console, title, _rows(work, results), work.folder.path, [follow_up])


def _rows(work: Evaluation, results: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    low, high = results["interval"]
    yield (
        "top-1",
        Text.assemble(
            (f"{results['top1']:.4f}", "bold green"),
            f" (95 % interval {low:.4f} to {high:.4f}; {results['num_test']} "
            f"{results['scored_on']})",
        ),
    )
    yield work.row_of_null
    if results["top5"] is not None:
        yield "top-5", f"{results['top5']:.4f}"
    if results["seeds"] is not None:
        several = results["seeds"]
        spread = several["top1_std"]
        yield (
            "over seeds",
            f"{several['top1_mean']:.4f}"
            + (f" ± {spread:.4f}" if spread is not None else "")
            + f" (mean and standard deviation of {len(several['seeds'])}; above: the first)",
        )
    yield "ECE", f"{results['ece']:.4f}, calibration error of the probabilities"
    settings = results["settings"]
    if "lr_chosen_from" in settings:
        yield (
            "rate",
            f"{settings['lr']:g} of {', '.join(f'{r:g}' for r in settings['lr_chosen_from'])}, "
            f"chosen by {settings['num_held_out']} held-out training images",
        )
    yield from work.rows_of_features
    yield "seconds", f"{results['seconds']:.0f}"
    folder = work.folder
    files = (folder.results, folder.confusion, folder.classifier, folder.backbone, folder.metrics)
    yield "files", ", ".join(path.name for path in files if path.exists())
