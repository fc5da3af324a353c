"""A tiny masked method of clips, clips for it, and short runs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods.masked.method import Masked
from solo_ldm.run.configuration import complete
from solo_ldm.run.record import Outcome

# Eight frames of 16 pixels: four times of four rows and columns, and a network gone in a moment.
TIMES, SIDE = 4, 4
TINY = (
    *("backbone.kwargs.embed_dim=16", "backbone.kwargs.depth=1", "backbone.kwargs.num_heads=2"),
    *("method_kwargs.pred_embed_dim=8", "method_kwargs.pred_depth=1"),
)


def config(*overrides: str, name: str = "vjepa") -> DictConfig:
    """Compose the preset with a tiny network."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose(name, overrides=[*TINY, *overrides])


def build(*overrides: str, frames: int = 8) -> Any:
    """Build the method as the host does, in evaluation mode."""
    cfg = complete(config(*overrides))
    about: Any = {"num_classes": 8, "image_size": 16, "num_large_crops": 1, "num_small_crops": 0}
    cfg.data = {**OmegaConf.to_container(cfg.data), **about}  # pyright: ignore
    cfg.backbone.kwargs.in_chans = frames
    return Masked(cfg).eval()


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, 8, 16, 16, generator=torch.Generator().manual_seed(seed))


def run(folder: Path, *overrides: str) -> Outcome:
    """Train two epochs of six steps on a few clips."""
    small = (
        *("max_epochs=2", "scheduler.warmup_epochs=1", "optimizer.batch_size=32"),
        *("data.fraction=0.1", "data.num_workers=0", f"checkpoint.dir={folder}"),
        *("evaluation.protocols=[knn-20]", "evaluation.report=false"),
    )
    outcome = pretrain(config(*small, *overrides))
    assert outcome is not None
    return outcome
