"""Backbones by name: timm's models without their classifier, with stems for small images."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import timm
from safetensors import safe_open
from torch import nn

from solo_ldm.backbones.small import ConvNetSmall

# Images up to this side keep their resolution: a 7×7 stride-2 stem and a pooling layer would
# leave a 32-pixel image 8 pixels to work with.
SMALL_IMAGE = 64

# solo-learn's names for architectures that timm lists under another.
SOLO_LEARN_NAMES = {
    "vit_tiny": "vit_tiny_patch16_224",
    "vit_small": "vit_small_patch16_224",
    "vit_base": "vit_base_patch16_224",
    "vit_large": "vit_large_patch16_224",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "swin_base": "swin_base_patch4_window7_224",
    "swin_large": "swin_large_patch4_window7_224",
}

__all__ = ["SMALL_IMAGE", "SOLO_LEARN_NAMES", "ConvNetSmall", "create_backbone", "load_backbone"]


def create_backbone(name: str, image_size: int, **kwargs: Any) -> nn.Module:
    """Build a backbone that maps images (B, 3, H, W) to features (B, num_features).

    ResNets get a 3×3 stride-1 stem and no pooling for images of at most 64 pixels (He et al.,
    arXiv 1512.03385, section 4.2; the habit of SimCLR on CIFAR). The keys of the state are timm's.

    Args:
        name: a timm model name, or one of solo-learn's.
        image_size: side of the images in pixels.
        **kwargs: passed to timm.create_model.

    Returns:
        The module; its `num_features` is the size of the features.

    Raises:
        ValueError: an unknown name, or arguments that the model does not take.
    """
    timm_name = SOLO_LEARN_NAMES.get(name, name)
    if not timm.is_model(timm_name):
        near = difflib.get_close_matches(timm_name, [*timm.list_models(), *SOLO_LEARN_NAMES], n=3)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"backbone.name={name} is no timm model{hint}")
    if timm_name.startswith(("vit_", "swin_")):
        kwargs.setdefault("img_size", image_size)
    try:
        model = timm.create_model(timm_name, num_classes=0, **kwargs)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"backbone {name} cannot be built with {kwargs}: {error}") from error
    if timm_name.startswith("resnet") and image_size <= SMALL_IMAGE:
        _use_small_stem(model, timm_name)
    return model


def load_backbone(path: str | Path) -> nn.Module:
    """Rebuild a trained backbone from a run's backbone.safetensors, ready for features.

    Args:
        path: the file; how to build the network stands in its metadata.

    Returns:
        The module in evaluation mode; maps images (B, 3, H, W), normalised as in training, to
        features (B, num_features).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a safetensors file that no run of ours wrote.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no backbone at {path}: give a run's backbone.safetensors")
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata() or {}
        if "backbone" not in metadata:
            raise ValueError(
                f"{path} does not say which backbone it holds: no run of ours wrote it"
            )
        weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    model = create_backbone(**json.loads(metadata["backbone"]))
    model.load_state_dict(weights)
    return model.eval()


def _use_small_stem(model: nn.Module, name: str) -> None:
    stem = getattr(model, "conv1", None)
    if not isinstance(stem, nn.Conv2d):
        return  # timm's "d" variants have a deep stem of 3×3 convolutions already
    small = nn.Conv2d(stem.in_channels, stem.out_channels, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = small
    model.maxpool = nn.Identity()
