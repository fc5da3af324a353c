"""What a person reads when a comparison has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from solo_ldm.commands.compare.ranking import Standing
from solo_ldm.commands.compare.table import Comparison, failures, rank_text, spread_text

_BEST = 3


def print_comparison(comparison: Comparison, written: Sequence[Path], console: Console) -> None:
    """Say what was compared, which methods are best, where the files are and what to do next.

    Args:
        comparison: what was made.
        written: the files.
        console: where to print.
    """
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    finished, failed = comparison.finished, comparison.failed
    seeds = f"{len(comparison.seeds)} seed{'s' if len(comparison.seeds) > 1 else ''}"
    body.add_row("compared", f"{len(comparison.standings)} methods × {seeds}")
    for standing in [one for one in comparison.standings if one.rank is not None][:_BEST]:
        body.add_row(f"rank {rank_text(standing)}", _best(comparison, standing))
    equal = [one for one in comparison.standings if _is_equal(one)]
    if equal:
        body.add_row("", f"{len(equal)} not told from the best by these seeds (=)")
    if failed:
        body.add_row("failed", f"[red]{len(failed)} of {len(finished) + len(failed)} runs[/]")
    body.add_row(
        "files", ", ".join(path.name for path in written if path.parent == written[0].parent)
    )
    console.print(Panel(body, title=escape(comparison.name), expand=False))
    copied = [path for path in written if path.parent != written[0].parent]
    lines = [f"in {written[0].parent}"]
    if copied:
        lines.append(f"and {', '.join(map(str, copied))}")
    lines += [f"failed: {label}, {line}" for label, line in failures(comparison)]
    lines += [
        f"next: {one}" if i == 0 else f"      {one}" for i, one in enumerate(_next(comparison))
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _best(comparison: Comparison, standing: Standing) -> str:
    rank_by = comparison.rank_by
    parts = [f"{rank_by} [bold green]{spread_text(standing.scores[rank_by])}[/] %"]
    parts += [
        f"{protocol} {spread_text(standing.scores[protocol])}"
        for protocol in comparison.protocols
        if protocol != rank_by
    ]
    return f"{escape(standing.label)}: {', '.join(parts)}"


def _is_equal(standing: Standing) -> bool:
    return standing.margin is not None and standing.margin.told_apart is False


def _next(comparison: Comparison) -> list[str]:
    """Return commands to go on with."""
    lines = []
    if comparison.failed:
        lines.append("the same command again  # tries the failed runs again, repeats no other")
    if any(_is_equal(one) for one in comparison.standings):
        more = [*comparison.seeds, *range(max(comparison.seeds) + 1, max(comparison.seeds) + 3)]
        listed = ",".join(map(str, more))
        lines.append(f'the same command with "seeds=[{listed}]"  # trains the added seeds alone')
    best = next((one for one in comparison.standings if one.finished), None)
    if best is not None:
        path = best.finished[0].path
        lines.append(f"solo-ldm linear pretrained_feature_extractor={path}  # the best, further")
    return lines
