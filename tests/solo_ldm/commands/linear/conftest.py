"""The run whose weights the linear evaluations of these tests take."""

from __future__ import annotations

import pytest

from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome


@pytest.fixture(scope="session")
def pretrained(gaussprob_run: Outcome) -> RunFolder:
    """The folder of a short run on a fifth of the digits."""
    return gaussprob_run.folder


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no picture: it takes most of the time of a short evaluation."""
    monkeypatch.setattr("solo_ldm.commands.linear.run.write_picture", lambda work, results: None)
