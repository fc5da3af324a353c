"""Check when predictive latents are the true ones up to an affine map.

    solo-ldm theorem [cases=[NAME,...]] [KEY=VALUE ...]

Keys and defaults are in configs/theorem.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.run.record import Outcome


def theorem(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Check when predictive latents are the true ones up to an affine map.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, data or a file that does not fit.
        FileNotFoundError: in one line: data or weights that are not there.
    """
    from solo_ldm.commands.theorem.schema import complete_theorem

    cfg = complete_theorem(cfg)
    from solo_ldm.commands.theorem.run import run

    return run(cfg, console)


COMMAND = HydraCommand(
    theorem,
    schema="solo_ldm.commands.theorem.schema:TheoremConfig",
    default="theorem",
)
