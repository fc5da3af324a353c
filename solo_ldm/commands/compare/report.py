"""The summary of a comparison on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from solo_ldm.commands.compare.ranking import Standing, is_equal, rank_text, spread_text
from solo_ldm.commands.compare.runs import unlike
from solo_ldm.commands.compare.table import Comparison, failures
from solo_ldm.run.record import print_summary

_BEST = 3


def print_comparison(comparison: Comparison, written: Sequence[Path], console: Console) -> None:
    """Print what was compared, which methods are best, where the files are and what to do next.

    Args:
        comparison: the content.
        written: the files.
        console: where to print.
    """
    standings, seeds, folder = comparison.standings, comparison.seeds, written[0].parent
    plural = "s" if len(seeds) > 1 else ""
    compared = f"{len(standings)} methods × {len(seeds)} seed{plural}"
    missing = len(standings) * len(seeds) - len(comparison.finished) - len(comparison.failed)
    compared += f", of which {missing} runs are not trained" if missing else ""
    rows: list[tuple[str, str | Text]] = [("compared", compared)]
    for one in [one for one in standings if one.rank is not None][:_BEST]:
        rows.append((f"rank {rank_text(one)}", _scores(comparison, one)))
    rows += [("not alike", line) for line in unlike(comparison.finished)]
    equal = sum(map(is_equal, standings))
    if equal:
        rows.append(("", f"{equal} not distinguished from the best by these seeds (=)"))
    failed, total = len(comparison.failed), len(comparison.failed) + len(comparison.finished)
    if failed:
        rows.append(("failed", Text(f"{failed} of {total} runs", "red")))
    for label, line in failures(comparison):
        rows.append(("", f"{label}, {line}"))
    rows.append(("files", ", ".join(path.name for path in written if path.parent == folder)))
    copies = [str(path) for path in written if path.parent != folder]
    if copies:
        rows.append(("copied to", ", ".join(copies)))
    print_summary(console, comparison.name, rows, folder, _follow_ups(comparison))


def _scores(comparison: Comparison, standing: Standing) -> Text:
    scores = {name: spread_text(standing.scores[name]) for name in comparison.protocols}
    best = scores.pop(comparison.rank_by)
    others = "".join(f", {name} {text}" for name, text in scores.items())
    first = f"{standing.label}: {comparison.rank_by} "
    return Text.assemble(first, (best, "bold green"), f" %{others}")


def _follow_ups(comparison: Comparison) -> list[str]:
    lines = []
    if comparison.failed:
        lines.append("the same command again  # repeats the failed runs alone")
    if any(map(is_equal, comparison.standings)):
        more = [*comparison.seeds, *range(max(comparison.seeds) + 1, max(comparison.seeds) + 3)]
        listed = ",".join(map(str, more))
        lines.append(f'the same command with "seeds=[{listed}]"  # trains the added seeds alone')
    path = comparison.finished[0].path if comparison.finished else None
    if path is not None and Path(path).is_dir():  # a record has no weights
        lines.append(f"solo-ldm linear {path}  # the best, further")
    return lines
