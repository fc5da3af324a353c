"""The commands `solo-ldm predictive` and `solo-ldm decode`, and the same as main_*.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solo_ldm.cli import run_with_hydra

_PACKAGE = "predictive.configs"
_NAMES = (
    "figure8, square, circular, circular_jumps, nonlinear_system, ornstein_uhlenbeck, "
    "place_cells, recording or a YAML of yours with --config-path"
)


def predictive_command(argv: Sequence[str] | None = None) -> None:
    """Train a predictive method; errors a user can mend are one line and exit code 2."""

    def work(cfg: Any) -> None:
        from predictive.host.run import predictive

        predictive(cfg)

    run_with_hydra(argv, _check, work, _schema, _NAMES, package=_PACKAGE)


def decode_command(argv: Sequence[str] | None = None) -> None:
    """Decode targets over all folds of a data set; errors are one line and exit code 2."""

    def work(cfg: Any) -> None:
        from predictive.host.folds import decode_folds

        decode_folds(cfg)

    run_with_hydra(argv, _check, work, _schema, _NAMES, package=_PACKAGE)


def _check(cfg: Any) -> None:
    from predictive.host.schema import complete_predictive

    complete_predictive(cfg)


def _schema() -> type:
    from predictive.host.schema import PredictiveConfig

    return PredictiveConfig
