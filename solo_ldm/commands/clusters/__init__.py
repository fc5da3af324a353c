"""Compare the categories that a run found with the classes.

    solo-ldm clusters RUN [KEY=VALUE ...]

Keys and defaults are in configs/clusters.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solo_ldm.config.command import HydraCommand

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from solo_ldm.run.record import Outcome


def clusters(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Compare the categories that a run found in its held-out images with their classes.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, a run without categories, no held-out images.
        FileNotFoundError: in one line: a run or data that are not there.
    """
    from solo_ldm.commands.clusters.schema import ClustersConfig
    from solo_ldm.config.schema import complete

    cfg = complete(cfg, ClustersConfig, "clusters.yaml")
    from solo_ldm.commands.clusters.run import run

    return run(cfg, console)


COMMAND = HydraCommand(
    clusters,
    schema="solo_ldm.commands.clusters.schema:ClustersConfig",
    default="clusters",
    positional="pretrained_feature_extractor",
)
