"""What a nearest-neighbour evaluation tells: results.json, and the table on the terminal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from solo_ldm.commands.pretrain.results import preprocessing_of
from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.protocols import PROTOCOLS
from solo_ldm.evaluation.scores import Score
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.provenance import commit, hardware_name, versions
from solo_ldm.weights.pretrained import Pretrained

NAMED = PROTOCOLS["knn-20"]
_OPTIMISTIC = (
    "the setting with the highest top-1 of the grid on the test images themselves, and so an "
    "optimistic number; compare methods by knn-20"
)
_ROWS = 12


@dataclass(frozen=True)
class KnnEvaluation:
    """What is evaluated on what.

    Args:
        cfg: the completed configuration.
        pretrained: the weights.
        data: the images.
        hardware: what it is computed on.
        num_train: labelled training images.
        skipped: values of k that the training images do not suffice for.
    """

    cfg: DictConfig
    pretrained: Pretrained
    data: ImageDataModule
    hardware: Hardware
    num_train: int
    skipped: list[int]


def named_score(scores: list[Score]) -> Score | None:
    """Return the score of the named protocol, where its setting is in the grid."""
    return next((score for score in scores if score.protocol == NAMED.name), None)


def content_of(run: KnnEvaluation, scores: list[Score], seconds: float) -> dict[str, Any]:
    """Return the content of results.json.

    Args:
        run: what was evaluated.
        scores: of every setting, the best first.
        seconds: that the evaluation took.
    """
    pretrained, data, named = run.pretrained, run.data, named_score(scores)
    weights = pretrained.weights
    return {
        "source": pretrained.source,
        "source_kind": pretrained.kind,
        "source_file": None if weights is None else str(weights),
        "source_sha256": None if weights is None else _sha256(weights),
        "method": pretrained.method,
        "backbone": pretrained.backbone_name,
        "epoch": pretrained.epoch,
        "feature_layer": pretrained.feature_layer,
        "preprocessing": preprocessing_of(data),
        "dataset": data.data.dataset,
        "data": {key: getattr(data.data, key) for key in DataConfig.__dataclass_fields__},
        "classes": list(data.classes),
        "num_train_images": run.num_train,
        "num_val_images": data.num_val_images,
        "unreadable_images": data.unreadable_summary(),
        "seed": run.cfg.seed,
        "hardware": hardware_name(run.hardware),
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "results": {} if named is None else {NAMED.name: named.as_dict()},
        "best": {**_row(scores[0]), "note": _OPTIMISTIC},
        "grid": [_row(score) for score in scores],
        "grid_left_out": {"k": run.skipped},
    }


def _row(score: Score) -> dict[str, Any]:
    measured = {key: getattr(score, key) for key in ("top1", "top5", "ece", "seconds")}
    return {**score.settings, **measured, "interval": list(score.interval)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def name_of(pretrained: Pretrained) -> str:
    """Say in a few words which network was evaluated."""
    by = pretrained.method or {"timm": "timm's", "untrained": "untrained"}.get(pretrained.kind)
    epochs = f" ({pretrained.epoch} epochs)" if pretrained.epoch else ""
    return f"{by + ' ' if by else ''}{pretrained.backbone_name}{epochs}"


def label_of(score: Score) -> str:
    """Say in a few words which setting a score is of."""
    if score.protocol == NAMED.name:
        return NAMED.name
    settings = score.settings
    return f"k = {settings['num_neighbours']}, {settings['distance']}"


def print_knn_summary(
    run: KnnEvaluation, scores: list[Score], folder: Path, console: Console
) -> None:
    """Print the settings, the best first, what was written, and what to do next."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("distance", "k", "T", "top-1", "95 % interval", "top-5", "ECE", ""):
        table.add_column(heading, justify="left" if heading in ("distance", "") else "right")
    for rank, score in enumerate(scores):
        if rank >= _ROWS and score.protocol != NAMED.name:
            continue
        settings = score.settings
        table.add_row(
            settings["distance"],
            str(settings["num_neighbours"]),
            f"{settings['temperature']:g}" if "temperature" in settings else "",
            f"{score.top1:.4f}",
            f"{score.interval[0]:.3f}–{score.interval[1]:.3f}",
            "" if score.top5 is None else f"{score.top5:.4f}",
            f"{score.ece:.3f}",
            NAMED.name if score.protocol == NAMED.name else "",
            style="bold green" if score.protocol == NAMED.name else None,
        )
    console.print(table)
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    named, best = named_score(scores), scores[0]
    if named is not None:
        body.add_row(
            NAMED.name,
            f"[bold green]{named.top1:.4f}[/] top-1 of {named.num_test} test images "
            f"(95 % {named.interval[0]:.3f} to {named.interval[1]:.3f})",
        )
    body.add_row(
        "best", f"{best.top1:.4f} with {label_of(best)}; chosen on the test images: optimistic"
    )
    if len(scores) > _ROWS:
        body.add_row("settings", f"{len(scores)}, all in results.json")
    body.add_row("files", "results.json, confusion.png")
    title = f"knn of {name_of(run.pretrained)} on {run.data.data.dataset}"
    console.print(Panel(body, title=title, expand=False))
    for line in (
        f"in {folder}",
        f"next: solo-ldm linear pretrained_feature_extractor={run.pretrained.source}",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
