"""What the benchmarks share: arguments, configurations, workers, tables and where they go."""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from solo_ldm.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]


def configuration(name: str, overrides: list[str], package: str = "solo_ldm.configs") -> DictConfig:
    """Compose a packaged configuration."""
    with initialize_config_module(package, version_base="1.3"):
        return compose(name, overrides=overrides)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that describes a benchmark by its first line and takes --csv."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--csv", type=Path, help="write the table to this file too")
    return made


def wide_console() -> Console:
    """Return a console whose tables are whole when they are piped."""
    console = Console()
    return console if console.is_terminal else Console(width=240)


def workers(jobs: int, threads: int) -> Executor:
    """Return processes to train in, of so many threads of torch each; for one job, this process."""
    if jobs == 1:
        return ThreadPoolExecutor(1)
    context = get_context("spawn")
    return ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,))


def spread(values: list[float], digits: int = 1, factor: float = 1.0) -> str:
    """Return mean ± standard deviation as text, by default with one digit."""
    scaled = [factor * value for value in values]
    deviation = f" ± {statistics.stdev(scaled):.{digits}f}" if len(scaled) > 1 else ""
    return f"{statistics.mean(scaled):.{digits}f}{deviation}"


@dataclass(frozen=True)
class Figures:
    """A table with its protocol.

    Args:
        heads: of the columns.
        rows: their cells.
        about: the protocol, Markdown that stands below the table; "" for none.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    about: str = ""

    def markdown(self) -> str:
        """Return the table with the protocol below it."""
        lines = [self.heads, ["---"] * len(self.heads), *self.rows]
        table = "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
        return f"{table}\n\n{self.about}".rstrip()

    def write(self, path: Path | None) -> None:
        """Write the table as CSV, if there is a path."""
        if path is not None:
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([self.heads, *self.rows])

    def show(self, console: Console, path: Path | None) -> None:
        """Print the table for a terminal and write it as CSV, if there is a path."""
        table = Table(*self.heads)
        for row in self.rows:
            table.add_row(*map(str, row))
        console.print(table)
        self.write(path)


def publish(
    tables: Sequence[Figures],
    page: Path,
    name: str,
    script: str,
    args: argparse.Namespace,
    console: Console,
) -> None:
    """Print tables as Markdown and, if asked to, put them between their marks in a page.

    Args:
        tables: one below the other. As CSV the second has "-2" in its name, and so on.
        page: the file.
        name: of the marks, <!-- name: made by benchmarks/script --> and <!-- /name -->.
        script: the name of the benchmark's file.
        args: `csv`, and `write`: whether to change the page.
        console: where to print.

    Raises:
        ValueError: the page lacks the marks.
    """
    text = "\n\n".join(one.markdown() for one in tables)
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    for number, one in enumerate(tables, 1):
        path = args.csv
        one.write(path and path.with_stem(f"{path.stem}-{number}") if number > 1 else path)
    if not args.write:
        return
    start, end = f"<!-- {name}: made by benchmarks/{script} -->", f"<!-- /{name} -->"
    before, found, rest = page.read_text().partition(start)
    if not found or end not in rest:
        raise ValueError(f"{page}: expected the lines {start} and {end}; put them back")
    after = rest.partition(end)[2]
    made = f"{before}{start}\n\n{text}\n\n{end}{after}"
    write_atomically(page, lambda to: to.write_text(made))
    console.print(f"wrote {page.relative_to(ROOT)}")
