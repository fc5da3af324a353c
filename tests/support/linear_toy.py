"""Linear evaluations of a toy run, and images to evaluate on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from PIL import Image

from solo_ldm.commands.linear import linear
from solo_ldm.data import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome


def linear_config(folder: Path, source: Path | str, *overrides: str) -> DictConfig:
    """Compose the configuration of a short evaluation with files under `folder`."""
    small = [f"pretrained_feature_extractor={source}", f"checkpoint.dir={folder}", "max_epochs=2"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose("linear", overrides=[*small, *overrides])


def run_linear(folder: Path, source: RunFolder | str, *overrides: str) -> Outcome:
    """Run a short evaluation."""
    where = source.path if isinstance(source, RunFolder) else source
    outcome = linear(linear_config(folder, where, *overrides))
    assert outcome is not None
    return outcome


def images_of(pretrained: RunFolder) -> ImageDataModule:
    """Return the images that a run was trained on."""
    args = json.loads(pretrained.args.read_text())
    return ImageDataModule(DataConfig(**args["data"]), args["augmentations"], 64)


def make_images(folder: Path, classes: int, each: int) -> Path:
    """Write folders of random images of 24 pixels, one a class."""
    generator = np.random.default_rng(0)
    for label in range(classes):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return folder
