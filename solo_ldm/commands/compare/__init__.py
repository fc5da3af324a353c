"""Rank methods over seeds under one budget.

    solo-ldm compare [--config-name NAME] [--config-path FOLDER] [jobs=2] [KEY=VALUE ...]

Keys and defaults are in configs/compare.yaml. Exit code 1 where runs failed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.commands.compare.table import Comparison


def compare(
    cfg: DictConfig, console: Console | None = None, configs: Path | None = None
) -> Comparison:
    """Train every method with every seed, unless it was, and rank them.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.
        configs: a folder of the user's own configurations; --config-path if not given.

    Raises:
        ValueError: in one line: a key or a value of the comparison, or what is wrong with an entry.
        FileNotFoundError: in one line: the data of an entry is not there.
    """
    from solo_ldm.commands.compare.schema import complete_compare

    cfg = complete_compare(cfg)
    from solo_ldm.commands.compare.run import run

    return run(cfg, console, configs)


def _exit_code(cfg: DictConfig) -> int:
    try:
        return 1 if compare(cfg).failed else 0
    except KeyboardInterrupt:  # it has said that it stops
        return 130


COMMAND = HydraCommand(
    _exit_code,
    schema="solo_ldm.commands.compare.schema:CompareConfig",
    default="compare",
)
