"""A tiny method of image and text, pairs for it, and short runs of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from omegaconf import OmegaConf

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods.cross.method import Cross
from solo_ldm.run.record import Outcome
from tests.support.toy import plain, toy_config

TINY = (
    "method_kwargs.text.width=16",
    "method_kwargs.text.depth=1",
    "method_kwargs.text.heads=2",
    "method_kwargs.text.vocabulary=400",
    "method_kwargs.proj_output_dim=8",
)
WORDS = [f"word{number}" for number in range(12)]


def build(*overrides: str, preset: str = "clip", **data: int) -> Cross:
    """Build the method as the host does, with captions of sixteen images."""
    cfg = plain(toy_config(Path("unused"), *TINY, *overrides, name=preset))
    about = {"num_classes": 10, "image_size": 16, "num_large_crops": 2, "num_small_crops": 0}
    cfg["data"].update({**about, **data})
    method = Cross(OmegaConf.create(cfg))
    captions = [tuple(f"{word} {a}" for a in ("cat", "dog")) for word in WORDS] * 2
    images = SimpleNamespace(
        source=lambda split: SimpleNamespace(captions=captions),
        notices=[],
        data=SimpleNamespace(dataset="toy"),
    )
    method.use_images(images)
    return method.eval()


def pairs(count: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (B, 3, 16, 16) in double precision and their indexes."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 16, 16, generator=generator, dtype=torch.float64)
    return images, torch.arange(count)


def run(folder: Path, *overrides: str, preset: str = "clip") -> Outcome:
    """Train two epochs on a few digits with captions."""
    outcome = pretrain(toy_config(folder, *TINY, *overrides, name=preset))
    assert outcome is not None
    return outcome


def state_of(outcome: Outcome) -> dict[str, torch.Tensor]:
    """Return all that a run has trained."""
    return torch.load(outcome.folder.last, weights_only=True)["state_dict"]
