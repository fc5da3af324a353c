"""What the benchmarks share: configurations, worker processes, tables between marks of a page."""

from __future__ import annotations

import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from rich.console import Console

from solo_ldm.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]


def configuration(name: str, overrides: list[str], package: str = "solo_ldm.configs") -> DictConfig:
    """Compose a packaged configuration."""
    with initialize_config_module(package, version_base="1.3"):
        return compose(name, overrides=overrides)


def workers(jobs: int, threads: int) -> ProcessPoolExecutor:
    """Return processes to train in, each with this many of torch's threads."""
    context = get_context("spawn")
    return ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,))


def spread(values: list[float], digits: int = 1, factor: float = 1.0) -> str:
    """Return mean ± standard deviation as text, by default with one digit."""
    scaled = [factor * value for value in values]
    deviation = f" ± {statistics.stdev(scaled):.{digits}f}" if len(scaled) > 1 else ""
    return f"{statistics.mean(scaled):.{digits}f}{deviation}"


def markdown(heads: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def publish(text: str, page: Path, name: str, script: str, write: bool, console: Console) -> None:
    """Print a text and, if asked to, put it between its marks in a page.

    Args:
        text: Markdown.
        page: the file.
        name: of the marks, <!-- name: made by benchmarks/script --> and <!-- /name -->.
        script: the name of the benchmark's file.
        write: whether to change the page.
        console: where to print.

    Raises:
        ValueError: the page lacks the marks.
    """
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    if not write:
        return
    start, end = f"<!-- {name}: made by benchmarks/{script} -->", f"<!-- /{name} -->"
    before, found, rest = page.read_text().partition(start)
    if not found or end not in rest:
        raise ValueError(f"{page}: expected the lines {start} and {end}; put them back")
    after = rest.partition(end)[2]
    made = f"{before}{start}\n\n{text}\n\n{end}{after}"
    write_atomically(page, lambda to: to.write_text(made))
    console.print(f"wrote {page.relative_to(ROOT)}")
