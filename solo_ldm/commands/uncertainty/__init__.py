"""Assess the Gaussians that a run predicts.

    solo-ldm uncertainty RUN [data=NAME] [KEY=VALUE ...]

Keys and defaults are in configs/uncertainty.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.run.record import Outcome


def uncertainty(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Assess the Gaussians that a run predicts.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, data or a file that does not fit.
        FileNotFoundError: in one line: data or weights that are not there.
    """
    from solo_ldm.commands.uncertainty.schema import complete_uncertainty

    cfg = complete_uncertainty(cfg)
    from solo_ldm.commands.uncertainty.run import run

    return run(cfg, console)


COMMAND = HydraCommand(
    uncertainty,
    schema="solo_ldm.commands.uncertainty.schema:UncertaintyConfig",
    default="uncertainty",
    positional="pretrained_feature_extractor",
)
