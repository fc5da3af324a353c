"""The commands `solo-ldm predictive` and `solo-ldm decode`, and the same as main_*.py."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from solo_ldm.cli import run_with_hydra

_PACKAGE = "predictive.configs"

# Parts whose keys are arguments of what they name: Hydra cannot know them, the schema does.
_OPEN = re.compile(r"(data|encoder|predictor|objective|decoders|optimizer\.multipliers)\.[^=]+=")


def predictive_command(argv: Sequence[str] | None = None) -> None:
    """Train a predictive method; errors a user can mend are one line and exit code 2."""

    def work(cfg: Any) -> None:
        from predictive.commands.predictive.run import predictive

        predictive(cfg)

    run_with_hydra(_opened(argv), _check, work, _schema, _names(), package=_PACKAGE)


def decode_command(argv: Sequence[str] | None = None) -> None:
    """Decode targets over all folds of a data set; errors are one line and exit code 2."""

    def work(cfg: Any) -> None:
        from predictive.commands.decode.run import decode_folds

        decode_folds(cfg)

    run_with_hydra(_opened(argv), _check, work, _schema, _names(), package=_PACKAGE)


def _opened(argv: Sequence[str] | None) -> list[str]:
    """Let overrides of open parts add keys: the schema says which ones there are."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return [f"++{one}" if _OPEN.match(one) else one for one in arguments]


def _names() -> str:
    known = sorted(path.name for path in files(_PACKAGE).iterdir() if path.name.endswith(".yaml"))
    names = [name.removesuffix(".yaml") for name in known if name != "host.yaml"]
    return f"{', '.join(names)} or a YAML of yours with --config-path"


def _check(cfg: Any) -> None:
    from predictive.configuration import complete_predictive

    complete_predictive(cfg)


def _schema() -> type:
    from predictive.configuration import PredictiveConfig

    return PredictiveConfig
