"""Small baselines on lightly's losses, and batches for them."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from solo_ldm.methods import lightly
from solo_ldm.methods.lightly.method import LightlyMethod
from solo_ldm.methods.lightly.recipes import RECIPES
from solo_ldm.run.configuration import complete
from tests.support.toy import plain

AVERAGED = [name for name, recipe in RECIPES.items() if "base_tau" in recipe.settings]
MULTI = [name for name, recipe in RECIPES.items() if recipe.crops == "multi"]
SMALL = {
    "proj_hidden_dim": 32,
    "proj_output_dim": 8,
    "pred_hidden_dim": 16,
    "queue_size": 64,
    "num_prototypes": 12,
    "loss_dim": 8,
    "whitening_size": 32,
    "sigreg_num_vectors": 16,
    "num_slices": 16,
}


@cache
def composed(name: str, *overrides: str) -> dict[str, Any]:
    """Compose a packaged config, cut down to run in seconds."""
    small = [
        "max_epochs=3",
        "scheduler.warmup_epochs=1",
        "optimizer.batch_size=32",
        "+backbone.kwargs.width=8",
        "data.num_workers=0",
        "data.fraction=0.1",
        "evaluation.protocols=[]",
        "evaluation.report=false",
    ]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return plain(compose(f"lightly/{name}", overrides=[*small, *overrides]))


def toy(name: str, *overrides: str, **method_kwargs: Any) -> DictConfig:
    """Return a completed configuration with small heads and the settings given."""
    cfg = copy.deepcopy(composed(name, *overrides))
    sizes = {key: value for key, value in SMALL.items() if cfg["method_kwargs"].get(key)}
    cfg["method_kwargs"].update(sizes, **method_kwargs)
    return complete(OmegaConf.create(cfg))


def build(name: str, large: int = 2, small: int = 0, **method_kwargs: Any) -> LightlyMethod:
    cfg = toy(name, **method_kwargs)
    cfg.data.update(num_classes=10, image_size=16, num_large_crops=large, num_small_crops=small)
    method = lightly.find(name)(cfg)
    method.log_dict = lambda *args, **kwargs: None  # there is no trainer to log to
    return method


def batch(large: int = 2, small: int = 0) -> list[Any]:
    images = torch.rand(32, 3, 16, 16)
    crops = [images + 0.1 * torch.randn_like(images) for _ in range(large)]
    crops += [crop[:, :, 4:12, 4:12] for crop in crops[:1] * small]
    return [torch.arange(32), crops, torch.arange(32) % 10]


def train(method: LightlyMethod, num_steps: int, data: list[Any], first: int = 0) -> list[float]:
    """Make some steps as the trainer does; return the losses."""
    optimizer = torch.optim.AdamW(method.learnable_params, lr=1e-3)
    found = []
    for step in range(first, first + num_steps):
        out = method.training_step(data, 0)
        optimizer.zero_grad()
        out["loss"].backward()
        method.on_after_backward()
        optimizer.step()
        method.move_average(step + 1, 100)
        found.append(out["terms"]["train_ssl_loss"].item())
    return found


def unit(z: torch.Tensor) -> torch.Tensor:
    return F.normalize(z, dim=-1)
