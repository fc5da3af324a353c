"""Score features by nearest neighbours.

    solo-ldm knn WEIGHTS [data=NAME] [KEY=VALUE ...]

Keys and defaults are in configs/knn.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.run.record import Outcome


def knn(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Score features by nearest neighbours.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, data or a file that does not fit.
        FileNotFoundError: in one line: data or weights that are not there.
    """
    from solo_ldm.commands.knn.schema import complete_knn

    cfg = complete_knn(cfg)
    from solo_ldm.commands.knn.run import run

    return run(cfg, console)


COMMAND = HydraCommand(
    knn,
    schema="solo_ldm.commands.knn.schema:KnnConfig",
    default="knn",
    positional="pretrained_feature_extractor",
)
