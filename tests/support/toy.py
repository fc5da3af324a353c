"""A tiny run on digits for tests: a few steps of the real thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf


def toy_config(folder: Path, *overrides: str, name: str = "gaussprob") -> DictConfig:
    """Compose a packaged config, cut down to run in seconds, with files under `folder`."""
    small = [
        "max_epochs=2",
        "scheduler.warmup_epochs=1",
        "optimizer.batch_size=64",
        "method_kwargs.proj_hidden_dim=32",
        "method_kwargs.proj_output_dim=16",
        "+backbone.kwargs.width=8",
        "data.num_workers=0",
        "data.fraction=0.2",
        f"checkpoint.dir={folder}",
        "evaluation.protocols=[knn-20]",
        "evaluation.report=false",
    ]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose(name, overrides=[*small, *overrides])


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Return a configuration as a dict."""
    content: Any = OmegaConf.to_container(cfg)
    return content
