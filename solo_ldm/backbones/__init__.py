"""Backbones by name: timm's models without their classifier, with stems for small images."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
from torch import nn

from solo_ldm.backbones.small import ConvNetSmall
from solo_ldm.backbones.small_stem import use_small_stem
from solo_ldm.backbones.stored import load_weights, read_safetensors
from solo_ldm.backbones.tiny import ResNetTiny
from solo_ldm.backbones.trial import WEIGHTS, try_model
from solo_ldm.backbones.video import TubeletEmbed
from solo_ldm.config.arguments import Count, check_value

# Images up to this side keep their resolution: a 7×7 stride-2 stem and a pooling layer would
# leave a 32-pixel image 8 pixels to work with.
SMALL_IMAGE = 64

# solo-learn's names for architectures that timm lists under another. timm has the others under the
# same name, except wide_resnet28w2 and wide_resnet28w8, which are not here.
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

# What the first convolution of a ResNet is; None chooses small or large by the image size.
STEMS = ("small", "large", "solo-learn")

__all__ = [
    "SMALL_IMAGE",
    "SOLO_LEARN_NAMES",
    "STEMS",
    "ConvNetSmall",
    "ResNetTiny",
    "TubeletEmbed",
    "create_backbone",
    "known_name",
    "load_backbone",
    "load_weights",
    "read_backbone",
]


def create_backbone(
    name: str,
    image_size: int,
    stem: str | None = None,
    *,
    crop_sizes: Iterable[int] = (),
    **kwargs: Any,
) -> nn.Module:
    """Build a backbone that maps images (B, 3, H, W) to features (B, num_features).

    ResNets get a 3×3 stride-1 stem and no pooling for images of at most 64 pixels (He et al.,
    arXiv 1512.03385, section 4.2; the habit of SimCLR on CIFAR). The keys of the state are timm's.

    Args:
        name: a timm model name, or one of solo-learn's (no wide_resnet28w2 and 28w8).
        image_size: side of the images in pixels.
        stem: of ResNets: small (3×3), large (timm's own), or solo-learn (3×3 with a padding of 2,
            which its weights for CIFAR were trained with); None chooses by the image size.
        crop_sizes: sides of other images that it is trained with.
        **kwargs: passed to timm.create_model.

    Returns:
        The module; its `num_features` is the size of the features, measured.

    Raises:
        ValueError: in one line: an unknown name, arguments that the model does not take, or a model
            that does not turn images of these sizes into features (B, num_features).
        OSError: pretrained weights were asked for and could not be loaded.
    """
    if "num_classes" in kwargs:
        raise ValueError(
            f"backbone.kwargs.num_classes: expected none, as a backbone has no classifier, got "
            f"{kwargs['num_classes']}; leave it out (the data say how many classes there are)"
        )
    check_value("backbone image_size", image_size, Count)
    if stem is not None and stem not in STEMS:
        raise ValueError(f"backbone stem: expected one of {', '.join(STEMS)}, got {stem!r}")
    timm_name = known_name(name)
    told, num_features = try_model(name, timm_name, [image_size, *crop_sizes], kwargs)
    try:
        model: Any = timm.create_model(timm_name, num_classes=0, **kwargs, **told)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"backbone {name} cannot be built with {kwargs}: {error}") from error
    except Exception as error:  # of the network, the hub, the disk or timm
        if isinstance(error, ValueError) or not kwargs.get("pretrained"):
            raise
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(
            f"backbone.kwargs.pretrained: the weights of {timm_name} could not be loaded ({line}); "
            f"check the connection, or give a file of them as "
            f"backbone.kwargs.pretrained_cfg_overlay.file=PATH"
        ) from error
    # timm's own is that of the feature maps, which some models map to another number.
    model.num_features = num_features
    if stem is None:
        stem = "small" if image_size <= SMALL_IMAGE else "large"
    if timm_name.startswith("resnet") and stem != "large":
        use_small_stem(model, padding=2 if stem == "solo-learn" else 1)
    return model


def known_name(name: str) -> str:
    """Return timm's name of a backbone.

    Raises:
        ValueError: in one line: an unknown name.
    """
    timm_name = SOLO_LEARN_NAMES.get(name, name)
    if not timm.is_model(timm_name):
        bare = re.split("[:/]", name)[-1]  # of timm:NAME, hf-hub:timm/NAME
        near = difflib.get_close_matches(bare, [*timm.list_models(), *SOLO_LEARN_NAMES], n=3)
        near = [bare] if timm.is_model(bare) else near
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        if timm.is_model(bare):
            hint += " With backbone.kwargs.pretrained=true it starts from timm's weights."
        raise ValueError(f"backbone.name={name} is no timm model{hint}")
    return timm_name


def load_backbone(path: str | Path, image_size: int | None = None) -> nn.Module:
    """Rebuild a trained backbone from a run's backbone.safetensors, ready for features.

    Args:
        path: the file; its metadata describe how to build the network.
        image_size: side of the images in pixels; None for that of the training.

    Returns:
        The module in evaluation mode; maps images (B, 3, H, W), normalised as in training, to
        features (B, num_features).

    Raises:
        FileNotFoundError: no such file.
        ValueError: no safetensors file, one that no run of ours wrote, or images of a size that the
            network does not take.
    """
    return read_backbone(path, image_size)[0]


def read_backbone(
    path: str | Path, image_size: int | None = None
) -> tuple[nn.Module, dict[str, dict[str, Any]]]:
    """Return what `load_backbone` does, and what the metadata of the file say."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no backbone at {path}: give a run's backbone.safetensors")
    metadata, weights = read_safetensors(path)
    if "backbone" not in metadata:
        raise ValueError(
            f"{path}: expected metadata that name the backbone, got none; no run of ours wrote it"
        )
    built_by = metadata["backbone"]
    if not isinstance(built_by.get("name"), str) or type(built_by.get("image_size")) is not int:
        raise ValueError(
            f"{path}: expected name and image_size of the backbone in the metadata, got "
            f"{built_by}; no run of ours wrote it"
        )
    # The file holds the weights, whatever training began with.
    built_by = {key: value for key, value in built_by.items() if key not in WEIGHTS}
    model = create_backbone(**built_by, crop_sizes=[image_size] if image_size else ())
    load_weights(model, weights, path)
    return model.eval(), metadata
