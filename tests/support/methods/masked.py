"""A tiny masked method, images for it, and short runs of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods.masked.method import Masked
from solo_ldm.run.configuration import complete
from solo_ldm.run.record import Outcome

SEED, EPOCH, STEP = 3, 1, 7

# Eight by eight patches of 16-pixel images, and a network that is gone in a moment.
NETWORK = (
    "backbone.kwargs.patch_size=2",
    "backbone.kwargs.embed_dim=16",
    "backbone.kwargs.depth=2",
    "backbone.kwargs.num_heads=2",
    "method_kwargs.pred_embed_dim=8",
    "method_kwargs.pred_num_heads=2",
    "method_kwargs.target_aspect=[0.75,1.5]",
)
# Of presets whose predictor is a transformer, and of masks of separate blocks.
_SHALLOW = ("method_kwargs.pred_depth=1",)
_BLOCKS = (
    "method_kwargs.num_targets=4",
    "method_kwargs.target_scale=[0.15,0.2]",
    "method_kwargs.least_context=10",
)
TINY = {
    "ijepa": (*NETWORK, *_SHALLOW, *_BLOCKS),
    "mae": (*NETWORK, *_SHALLOW),
    "simmim": NETWORK,
    "maskfeat": NETWORK,
    "data2vec": NETWORK,
    "beit": (*NETWORK, "method_kwargs.num_tokens=8"),
}


def config(*overrides: str, name: str = "ijepa") -> DictConfig:
    """Compose a preset with a tiny network."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose(name, overrides=[*TINY[name], *overrides])


def build(*overrides: str, name: str = "ijepa", **data: int) -> Masked:
    """Build the method as the host does, in evaluation mode, with a codebook if it has one."""
    cfg = complete(config(*overrides, name=name))
    about = {"num_classes": 10, "image_size": 16, "num_large_crops": 1, "num_small_crops": 0}
    cfg.data = {**OmegaConf.to_container(cfg.data), **about, **data}  # pyright: ignore
    method = Masked(cfg).eval()
    method.targets.prepare(lambda most: [(noise(most, seed=2), None)], seed=0)
    return method


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def images_and_masks(method: Masked, count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Return images (B, 3, 16, 16), patches of the context and of the targets."""
    images = noise(count, seed=1)
    drawn = method.masks.draw(SEED, EPOCH, STEP, range(count))
    kept = torch.from_numpy(drawn.context(drawn.smallest_context))
    return images, kept, torch.from_numpy(drawn.targets)


def run(folder: Path, *overrides: str, name: str = "ijepa") -> Outcome:
    """Train two epochs of five steps on a few digits."""
    small = (
        *("max_epochs=2", "scheduler.warmup_epochs=1", "optimizer.batch_size=32"),
        *("data.fraction=0.12", "data.num_workers=0", f"checkpoint.dir={folder}"),
        *("evaluation.protocols=[knn-20]", "evaluation.report=false"),
    )
    outcome = pretrain(config(*small, *overrides, name=name))
    assert outcome is not None
    return outcome


def state_of(outcome: Outcome) -> dict[str, Tensor]:
    return torch.load(outcome.folder.last, weights_only=True)["state_dict"]


collapse_is_expected = pytest.mark.filterwarnings(
    "ignore::solo_ldm.run.callbacks.health.CollapseWarning"  # of a network after a few steps
)
