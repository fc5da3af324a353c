"""A checkout of solo-learn for the tests that need one, and images for its scripts."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def original() -> Path:
    """Where solo-learn is."""
    named = os.environ.get("SOLO_LEARN")
    spec = importlib.util.find_spec("solo")
    found = Path(named) if named else Path(spec.origin).parents[1] if spec and spec.origin else None
    if found is None or not (found / "main_pretrain.py").is_file():
        pytest.skip("solo-learn is not here: SOLO_LEARN=CHECKOUT pytest -m solo_learn")
    return found.resolve()


@pytest.fixture(scope="session")
def checkout(original, tmp_path_factory) -> Path:
    """A copy, as its scripts write where they are called."""
    copy = tmp_path_factory.mktemp("checkout") / "solo-learn"
    return shutil.copytree(original, copy, ignore=shutil.ignore_patterns(".git", "lightning_logs"))


@pytest.fixture
def importable(original, monkeypatch):
    """Let the integration find solo-learn."""
    monkeypatch.setenv("SOLO_LEARN", str(original))


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Digits as files in class folders, 32 pixels high, in train/ and val/."""
    folder, digits = tmp_path_factory.mktemp("images"), load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:240], digits.target, strict=False)):
        place = folder / ("train" if number < 160 else "val") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray((image * 15).astype(np.uint8)).convert("RGB")
        pixels.resize((36, 32)).save(place / f"{number:03}.png")
    return folder
