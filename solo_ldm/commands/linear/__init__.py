"""Score features by a linear classifier, or train on.

    solo-ldm linear WEIGHTS [data=NAME] [protocol=NAME] [KEY=VALUE ...]

Keys and defaults are in configs/linear.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.run.record import Outcome


def linear(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Score features by a linear classifier, or train on.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, data or a file that does not fit.
        FileNotFoundError: in one line: data or weights that are not there.
    """
    from solo_ldm.commands.linear.schema import complete_linear

    cfg = complete_linear(cfg)
    from solo_ldm.commands.linear.run import run

    return run(cfg, console)


COMMAND = HydraCommand(
    linear,
    schema="solo_ldm.commands.linear.schema:LinearConfig",
    default="linear",
    positional="pretrained_feature_extractor",
)
