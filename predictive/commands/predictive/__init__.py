"""Train a predictor of time series, evaluate and document it.

    solo-ldm predictive --config-name NAME [--config-path FOLDER] [KEY=VALUE ...]

Keys and defaults are in predictive/configs/host.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.run.record import Outcome


def predictive(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Train a predictor of time series, evaluate and document it.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, data or a file that does not fit.
        FileNotFoundError: in one line: data or weights that are not there.
    """
    from predictive.configuration import complete_predictive

    cfg = complete_predictive(cfg)
    from predictive.commands.predictive.run import run

    return run(cfg, console)


COMMAND = HydraCommand(
    predictive,
    schema="predictive.configuration:PredictiveConfig",
    default=None,
    package="predictive.configs",
)
