"""Separate mixed sources: photographs, drawn sources, time series, mixtures of your own.

    solo-ldm ica [task=NAME] [mixtures=FILE] [KEY=VALUE ...]

Keys and defaults are in configs/ica.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.run.record import Outcome


def ica(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Separate mixed sources: photographs, drawn sources, time series, mixtures of your own.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, data or a file that does not fit.
        FileNotFoundError: in one line: data or weights that are not there.
    """
    from solo_ldm.commands.ica.schema import complete_ica

    cfg = complete_ica(cfg)
    from solo_ldm.commands.ica.run import run

    return run(cfg, console)


COMMAND = HydraCommand(
    ica,
    schema="solo_ldm.commands.ica.schema:ICAConfig",
    default="ica",
)
