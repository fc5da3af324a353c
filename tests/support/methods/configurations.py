"""Small configurations of methods, as a run gives them to a method's class."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tests.support.toy import plain, toy_config

SIZES = {"proj_hidden_dim": 8, "proj_output_dim": 4}


def method_config(folder: Path, name: str = "gaussprob", **method_kwargs) -> DictConfig:
    """Return a packaged configuration, small, with method_kwargs and what the data add."""
    cfg = plain(toy_config(folder, name=name))
    cfg["method_kwargs"].update(method_kwargs)
    cfg["data"].update(num_classes=10, image_size=16, num_large_crops=2, num_small_crops=0)
    return OmegaConf.create(cfg)
