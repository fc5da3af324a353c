"""What a person reads when a predictive run has ended."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from predictive.commands.predictive.results import PredictiveRun


def print_summary(run: PredictiveRun, results: dict[str, Any], console: Console) -> None:
    """Say what was made, how good it is, where it is and what to do next."""
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    body.add_row("trained", f"{results['epochs']} epochs in {results['seconds']:.0f} s")
    found = results["results"]
    for target, scores in found["decoding"].items():
        for score in scores:
            body.add_row(
                target,
                f"[bold green]R² {score['r2']:.3f}[/] from {score['features']}, "
                f"{score['decoder']} (null at most {score['null_high']:.3f})",
            )
    for target, interval in found["intervals"].items():
        body.add_row(
            target, f"{100 * interval['coverage']:.1f} % of held-out bins in the 95 % interval"
        )
    if found["noise_correlation"] is not None:
        body.add_row("noise", f"inferred against true: r = {found['noise_correlation']:.3f}")
    if found["identifiability"] is not None:
        before, after = (found["identifiability"][when] for when in ("before", "after"))
        first = f"{before['affine_r2']:.3f} before training, " if before else ""
        body.add_row("affine R²", f"{first}[bold green]{after['affine_r2']:.3f}[/] after")
    folder = run.folder
    pictures = sorted(path.name for path in folder.path.glob("*.png"))
    body.add_row("files", ", ".join([folder.results.name, folder.metrics.name, "checkpoints/"]))
    if pictures:
        body.add_row("pictures", ", ".join(pictures))
    console.print(Panel(body, title=f"{results['method']} on {results['data']}", expand=False))
    console.print(f"in {folder.path}", soft_wrap=True, highlight=False, markup=False)
    for number, line in enumerate(_follow_ups(run)):
        start = "next: " if number == 0 else "      "
        console.print(start + line, soft_wrap=True, highlight=False, markup=False)


def _follow_ups(run: PredictiveRun) -> list[str]:
    other = "neighbour" if run.cfg.objective.entropy == "stop_gradient" else "stop_gradient"
    lines = [f"the same command with objective.entropy={other}"]
    if run.data.kind == "spikes":
        lines.insert(0, "solo-ldm decode --config-name ...  # the same over all folds")
    lines.append("solo-ldm predictive --config-name recording data.path=FILE  # your recording")
    return lines
