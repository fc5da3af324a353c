"""A zoo of one entry, of two toy runs: trained and published once per process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from solo_ldm.zoo.publishing import publish
from tests.support.toy_zoo import train_toy


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [train_toy(folder, f"seed={seed}") for seed in (1, 2)]


@pytest.fixture(scope="session")
def published(runs, tmp_path_factory) -> Path:
    """The zoo's folder."""
    folder = tmp_path_factory.mktemp("zoo")
    publish(runs, "toy", folder, licence="CC BY 4.0", with_training_state=True)
    return folder


@pytest.fixture
def own_zoo(published, tmp_path, monkeypatch) -> Path:
    """A copy of the zoo, in place of the package's."""
    folder = tmp_path / "zoo"
    shutil.copytree(published, folder)
    monkeypatch.setenv("SOLO_LDM_ZOO", str(folder))
    return folder
