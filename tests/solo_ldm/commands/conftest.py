"""A pretrained run that tests of several commands share."""

from __future__ import annotations

import pytest

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.run.record import Outcome
from tests.support.toy import toy_config


@pytest.fixture(scope="session")
def gaussprob_run(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A short run on a fifth of the digits, with its online classifier."""
    protocols = "evaluation.protocols=[knn-20,linear-online]"
    outcome = pretrain(toy_config(tmp_path_factory.mktemp("runs"), protocols, "max_epochs=4"))
    assert outcome is not None
    return outcome
