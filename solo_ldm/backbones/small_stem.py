"""timm's plain ResNets with the stem for small images, under names that timm finds.

The stem is that of He et al., arXiv 1512.03385, section 4.2: a 3×3 convolution of stride 1 and no
pooling, so that a 32-pixel image keeps its resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

# Block and layers a stage (He et al., arXiv 1512.03385, table 1).
_SIZES: dict[str, tuple[type[nn.Module], list[int]]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, [3, 4, 23, 3]),
}


def use_small_stem(model: nn.Module, padding: int = 1) -> None:
    """Give a ResNet the stem for small images, in place; one with a deep stem keeps its own."""
    stem = getattr(model, "conv1", None)
    if not isinstance(stem, nn.Conv2d):
        return  # timm's "d" variants have a deep stem of 3×3 convolutions already
    small = nn.Conv2d(stem.in_channels, stem.out_channels, 3, stride=1, padding=padding, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = small
    model.maxpool = nn.Identity()


def small_stem_name(name: str) -> str | None:
    """Return timm's name for a ResNet with the stem for small images, if it has one."""
    return f"{name}_small_stem" if name in _SIZES else None


def _entry_point(name: str) -> Callable[..., nn.Module]:
    """Return the function that builds a ResNet for small images, named as timm lists it."""
    block, layers = _SIZES[name]

    def build(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        settings = {"block": block, "layers": layers, **kwargs}
        # timm loads weights into what is built here, so the stem has to be there by then.
        return build_model_with_cfg(_with_small_stem, build.__name__, pretrained, **settings)

    build.__name__ = f"{name}_small_stem"
    return build


def _with_small_stem(**settings: Any) -> ResNet:
    model = ResNet(**settings)
    use_small_stem(model)
    return model


for _name in _SIZES:
    register_model(_entry_point(_name))
