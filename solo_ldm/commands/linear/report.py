"""After a linear evaluation: results.json, confusion.png, and the summary on the terminal."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from solo_ldm.commands.linear.evaluation import Evaluation
from solo_ldm.commands.linear.schema import TRAINED
from solo_ldm.evaluation.scores import Score
from solo_ldm.plotting.confusion import write_confusion
from solo_ldm.run.provenance import commit, hardware_name, versions


def content_of(run: Evaluation, score: Score) -> dict[str, Any]:
    """Return the content of results.json: the score, of what it is, and where it comes from."""
    cfg, pretrained, data = run.cfg, run.pretrained, run.data
    content = score.as_dict()
    names = [*data.classes, *(str(n) for n in range(len(data.classes), len(score.per_class)))]
    content["per_class"] = dict(zip(names, score.per_class, strict=False))
    return {
        **content,
        "classes": list(data.classes),
        "dataset": cfg.data.dataset,
        "seed": cfg.seed if cfg.protocol in TRAINED else None,
        "seeds": None,
        "source": pretrained.source,
        "source_kind": pretrained.kind,
        "source_sha256": run.sha256,
        "backbone": pretrained.backbone_name,
        "pretrain_method": pretrained.method or cfg.pretrain_method,
        "data_backend": data.backend,
        "unreadable_images": data.unreadable_summary(),
        "hardware": hardware_name(run.hardware),
        "precision": run.hardware.precision if cfg.protocol in TRAINED else "32-true",
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write_picture(run: Evaluation, results: dict[str, Any]) -> None:
    """Write confusion.png, where there are few enough classes to see."""
    if results["confusion"] is not None:
        title = f"{run.cfg.protocol} of {results['backbone']} on {results['dataset']}"
        write_confusion(run.folder.confusion, results["confusion"], results["classes"], title)


def print_linear_summary(run: Evaluation, results: dict[str, Any], console: Console) -> None:
    """Say how good the backbone is, where the files are and what to do next."""
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    low, high = results["interval"]
    body.add_row(
        "top-1",
        f"[bold green]{results['top1']:.4f}[/] (95 % interval {low:.4f} to {high:.4f}; "
        f"{results['num_test']} test images)",
    )
    if results["top5"] is not None:
        body.add_row("top-5", f"{results['top5']:.4f}")
    if results["seeds"] is not None:
        several = results["seeds"]
        spread = several["top1_std"]
        body.add_row(
            "over seeds",
            f"{several['top1_mean']:.4f}"
            + (f" ± {spread:.4f}" if spread is not None else "")
            + f" (mean and standard deviation of {len(several['seeds'])}; above: the first)",
        )
    body.add_row("ECE", f"{results['ece']:.4f}, calibration error of the probabilities")
    if "lr_chosen_from" in results["settings"]:
        settings = results["settings"]
        body.add_row(
            "rate",
            f"{settings['lr']:g} of {', '.join(f'{r:g}' for r in settings['lr_chosen_from'])}, "
            f"chosen by {settings['num_held_out']} held-out training images",
        )
    body.add_row("seconds", f"{results['seconds']:.0f}")
    folder = run.folder
    files = (folder.results, folder.confusion, folder.classifier, folder.backbone, folder.metrics)
    body.add_row("files", ", ".join(path.name for path in files if path.exists()))
    title = f"{results['protocol']} on {results['dataset']}"
    console.print(Panel(body, title=title, expand=False))
    source = results["source"]
    other = "linear-offline" if run.cfg.protocol != "linear-offline" else "finetune"
    for line in (
        f"in {folder.path}",
        f"next: solo-ldm linear pretrained_feature_extractor={source} protocol={other}",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
