"""A toy run to publish."""

from __future__ import annotations

import warnings
from pathlib import Path

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.run.callbacks.health import CollapseWarning
from tests.support.toy import toy_config


def train_toy(folder: Path, *overrides: str) -> Path:
    """Train a toy run, too short to leave a collapse; return its folder."""
    protocols = "evaluation.protocols=[knn-20,linear-features]"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapseWarning)
        outcome = pretrain(toy_config(folder, protocols, *overrides))
    assert outcome is not None
    return outcome.folder.path
