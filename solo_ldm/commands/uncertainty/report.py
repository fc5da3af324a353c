"""What an evaluation of uncertainty prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table


def print_uncertainty(results: dict[str, Any], folder: Path, console: Console) -> None:
    """Print likelihood, coverage, ranks and where the files are.

    Args:
        results: the content of uncertainty.json.
        folder: where the files are.
        console: where to print.
    """
    fit, strength = results["calibration"], results["strength"]
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    body.add_row(
        "likelihood",
        f"{fit['negative_log_likelihood']:.4f} nats a dimension; one covariance for all "
        f"{fit['constant_negative_log_likelihood']:.4f}",
    )
    body.add_row(
        "distance", f"{fit['distance_ratio']:.3f} of what the covariance says (1 is calibrated)"
    )
    for name in ("intervals", "ellipsoids"):
        found = zip(fit["levels"], fit[name], strict=True)
        body.add_row(name, ", ".join(f"{level:g}: {share:.3f}" for level, share in found))
    body.add_row(
        "augmentation",
        f"rank correlation {strength['rank_correlation']:.3f} with the variance, "
        f"{strength['within_image']:.3f} within an image",
    )
    for name, areas in results["outside"].items():
        told = ", ".join(f"{key.replace('_', ' ')} {area:.3f}" for key, area in areas.items())
        body.add_row(name, f"AUROC by {told}")
    body.add_row("files", "uncertainty.json, uncertainty.csv, uncertainty.png")
    title = f"uncertainty of {results['name']} on {results['num_images']} held-out images"
    console.print(Panel(body, title=title, expand=False))
    console.print(f"in {folder}", soft_wrap=True, highlight=False, markup=False)
