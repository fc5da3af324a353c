"""The record of a result: its origin, what a command left behind, and the summary printed."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import solo_ldm
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware

_PACKAGES = ("torch", "torchvision", "lightning", "timm", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Outcome:
    """What a command left behind.

    Args:
        folder: where its files are.
        results: the content of results.json.
    """

    folder: RunFolder
    results: dict[str, Any]


def provenance(hardware: Hardware | None = None) -> dict[str, Any]:
    """Return what every results.json says of its origin.

    Args:
        hardware: what was computed on; None for the CPU of this machine.

    Returns:
        "hardware" in words, "versions" by package, "commit" (see `commit`) and "finished", the time
        in UTC.
    """
    own = {"solo_ldm": solo_ldm.__version__, "python": platform.python_version()}
    return {
        "hardware": hardware_name(hardware),
        "versions": own | {name: version(name) for name in _PACKAGES},
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def hardware_name(hardware: Hardware | None = None) -> str:
    """Return the devices that were computed on, in words; None stands for the CPU."""
    if hardware is not None and hardware.accelerator == "cuda":
        return f"{hardware.num_processes} × {torch.cuda.get_device_name(hardware.device)}"
    if hardware is not None and hardware.accelerator == "mps":
        return f"{platform.machine()} GPU (mps)"
    return f"{cpu_name()}, {os.cpu_count()} cores"


def cpu_name() -> str:
    """Return the model of the processor, as far as the system says."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of the checkout the package runs from, "+changes" if it has some.

    None when the package is installed without a checkout.
    """
    root = Path(solo_ldm.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None

    def git(*args: str) -> str:
        command = ["git", "-C", str(root), *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean, standard deviation (0 of a single value), smallest and largest of values."""
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "smallest": min(values),
        "largest": max(values),
    }


def print_summary(
    console: Console,
    title: str,
    rows: Iterable[tuple[str, str | Text]],
    folder: Path,
    follow_ups: Sequence[str] = (),
) -> None:
    """Say what was made, how good it is, where it is and what to run next.

    Args:
        console: where to print.
        title: of the panel.
        rows: a label and what it says.
        folder: where the files are.
        follow_ups: commands that go on from here.
    """
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    for label, text in rows:
        body.add_row(label, text)
    fits = cell_len(title) <= console.width - 6  # a frame cuts what does not
    if not fits:
        console.print(Text(title), soft_wrap=True)
    console.print(Panel(body, title=Text(title) if fits else None, expand=False))
    lines = [f"in {folder}"]
    lines += [f"{'next: ' if i == 0 else '      '}{line}" for i, line in enumerate(follow_ups)]
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
