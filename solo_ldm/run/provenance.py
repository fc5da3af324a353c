"""Where a result comes from: hardware, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

import solo_ldm
from solo_ldm.run.hardware import Hardware

_PACKAGES = ("torch", "torchvision", "lightning", "timm", "scikit-learn", "numpy")


def hardware_name(hardware: Hardware) -> str:
    """Return the devices that a run used, in words."""
    if hardware.accelerator == "cuda":
        return f"{hardware.num_processes} × {torch.cuda.get_device_name(hardware.device)}"
    if hardware.accelerator == "mps":
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


def versions() -> dict[str, str]:
    """Return the versions of solo_ldm, Python and what computes."""
    own = {"solo_ldm": solo_ldm.__version__, "python": platform.python_version()}
    return own | {name: version(name) for name in _PACKAGES}


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
