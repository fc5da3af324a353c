"""The progress bar of work that is no training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from solo_ldm.run.console import redraws
from solo_ldm.zoo.kinds import Progress as Report


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Report]:
    """Show a progress bar on a terminal; yield what moves it."""
    text, count = TextColumn("{task.description}", markup=False), MofNCompleteColumn()
    columns = (text, BarColumn(), count, TimeRemainingColumn())
    hidden = not redraws(console)
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(title, total=None)

        def report(what: str, done: int, total: int | None) -> None:
            shown = f"{title}: {what}" if what else title
            bar.update(task, description=shown, completed=done, total=total)

        yield report
