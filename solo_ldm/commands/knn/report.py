"""What a nearest-neighbour evaluation reports: results.json, and the table on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from solo_ldm.commands.shared.inputs import Evaluation
from solo_ldm.evaluation.scores import Score
from solo_ldm.run.record import print_summary
from solo_ldm.weights.pretrained import Pretrained

NAMED = "knn-20"
_OPTIMISTIC = (
    "the setting with the highest top-1 of the grid on the scored images themselves, and so an "
    "optimistic number; compare methods by knn-20"
)
_ROWS = 12


def named_score(scores: list[Score]) -> Score | None:
    """Return the score of the named protocol, where its setting is in the grid."""
    return next((score for score in scores if score.protocol == NAMED), None)


def content_of(work: Evaluation, scores: list[Score], seconds: float) -> dict[str, Any]:
    """Return the content of results.json; scores are those of every setting, the best first."""
    pretrained, data, named = work.pretrained, work.data, named_score(scores)
    num_train = scores[0].num_train
    return {
        **work.origin(),
        "source_file": None if pretrained.weights is None else str(pretrained.weights),
        "method": pretrained.method,
        **work.record,
        "data": asdict(data.data),
        "num_train_images": num_train,
        "num_val_images": data.num_val_images,
        "seed": work.cfg.seed,
        "seconds": round(seconds, 3),
        "results": {} if named is None else {NAMED: named.as_dict()},
        "best": {**_row(scores[0]), "note": _OPTIMISTIC},
        "grid": [_row(score) for score in scores],
        "grid_left_out": {"k": [k for k in work.cfg.k if k > num_train]},
    }


def _row(score: Score) -> dict[str, Any]:
    measured = {key: getattr(score, key) for key in ("top1", "top5", "ece", "seconds")}
    return {**score.settings, **measured, "interval": list(score.interval)}


def name_of(pretrained: Pretrained) -> str:
    """Name the network that was evaluated, for a title."""
    by = pretrained.method or {"timm": "timm's", "untrained": "untrained"}.get(pretrained.kind)
    epochs = f" ({pretrained.epoch} epochs)" if pretrained.epoch else ""
    return f"{by + ' ' if by else ''}{pretrained.backbone_name}{epochs}"


def label_of(score: Score) -> str:
    """Name the setting of a score, for a title."""
    if score.protocol == NAMED:
        return NAMED
    settings = score.settings
    return f"k = {settings['num_neighbours']}, {settings['distance']}"


def print_report(work: Evaluation, scores: list[Score], console: Console) -> None:
    """Print the settings, the best first, the files, and what to do next."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("distance", "k", "T", "top-1", "95 % interval", "top-5", "ECE", ""):
        table.add_column(heading, justify="left" if heading in ("distance", "") else "right")
    for rank, score in enumerate(scores):
        if rank >= _ROWS and score.protocol != NAMED:
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
            NAMED if score.protocol == NAMED else "",
            style="bold green" if score.protocol == NAMED else None,
        )
    console.print(table)
    named, best = named_score(scores), scores[0]
    rows: list[tuple[str, str | Text]] = []
    if named is not None:
        text = Text.assemble(
            (f"{named.top1:.4f}", "bold green"),
            f" top-1 of {named.num_test} {work.data.scored_on} "
            f"(95 % {named.interval[0]:.3f} to {named.interval[1]:.3f})",
        )
        rows.append((NAMED, text))
    chosen = f"{best.top1:.4f} with {label_of(best)}; chosen on these images: optimistic"
    rows += [("best", chosen), work.row_of_null]
    rows += work.rows_of_features
    if len(scores) > _ROWS:
        rows.append(("settings", f"{len(scores)}, all in results.json"))
    rows.append(("files", "results.json, confusion.png"))
    title = f"knn of {name_of(work.pretrained)} on {work.data.data.dataset}"
    follow_up = f"solo-ldm linear {work.pretrained.source}"
    print_summary(console, title, rows, work.folder.path, [follow_up])
