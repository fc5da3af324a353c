"""A small convolutional network for tiny images, registered with timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn

from solo_ldm.config.arguments import Bounds, Count, checked

# What timm.create_model adds to the arguments of a model, for pretrained weights.
_TIMMS = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


class ConvNetSmall(nn.Module):
    """Four 3×3 convolutions with batch norm and ReLU, then average pooling.

    Trains on 16×16 images in about a minute on two CPU cores. Follows timm's interface:
    `num_features`, `forward_features`, `forward_head`, `reset_classifier`.

    Args:
        width: channels of the first layer; the layers have width × (1, 2, 4, 4) channels.
        num_classes: outputs of the classifier; 0 for none.
        in_chans: channels of the images.

    Raises:
        ValueError: a number below 1, of classes below 0.
    """

    @checked
    def __init__(
        self,
        width: Count = 32,
        num_classes: Annotated[int, Bounds(0)] = 0,
        in_chans: Count = 3,
    ) -> None:
        super().__init__()
        channels = [in_chans, width, 2 * width, 4 * width, 4 * width]
        strides = [1, 2, 2, 1]
        layers: list[nn.Module] = []
        for before, after, stride in zip(channels[:-1], channels[1:], strides, strict=True):
            layers += [
                nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.num_features = channels[-1]
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier; 0 removes it."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the feature maps (B, C, H/4, W/4) of images (B, in_chans, H, W)."""
        return self.layers(x)

    def forward_intermediates(
        self, x: Tensor, indices: int | list[int] | None = None, **how: Any
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the feature maps after convolutions; see `maps_of`."""
        layers = [self.layers[start : start + 3] for start in range(0, len(self.layers), 3)]
        return maps_of(layers, x, indices, **how)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool feature maps to (B, C) and classify unless `pre_logits`."""
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, C), or logits when there is a classifier."""
        return self.forward_head(self.forward_features(x))


def maps_of(
    stages: Sequence[nn.Module],
    x: Tensor,
    indices: int | list[int] | None = None,
    norm: bool = False,
    stop_early: bool = False,
    output_fmt: str = "NCHW",
    intermediates_only: bool = False,
) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
    """Return the feature maps (B, C, H, W) after stages of a network, as timm's networks do.

    Args:
        stages: one after another, from the image to the last map.
        x: what the first stage takes.
        indices: numbers of stages, from 0; so many last ones; or None for all.
        norm: timm's, of networks that end in a normalisation.
        stop_early: leave out the stages after the last of them.
        output_fmt: NCHW.
        intermediates_only: without the last map of all that came before them.

    Raises:
        ValueError: another format.
        IndexError: there is no such stage.
    """
    if output_fmt != "NCHW":
        raise ValueError(f"output_fmt: expected NCHW, got {output_fmt}")
    numbers = range(len(stages))
    taken = [*numbers[-indices:]] if isinstance(indices, int) else indices
    taken = [numbers[index] for index in (numbers if taken is None else taken)]
    maps: list[Tensor] = []
    for number, stage in enumerate(stages):
        if stop_early and number > max(taken):
            break
        x = stage(x)
        if number in taken:
            maps.append(x)
    return maps if intermediates_only else (x, maps)


@register_model
def convnet_small(pretrained: bool = False, **kwargs: Any) -> ConvNetSmall:
    """Build `ConvNetSmall`; the name under which timm.create_model finds it.

    Raises:
        ValueError: pretrained weights were asked for without a folder or a repository of them.
    """
    source, *_ = (kwargs.pop(key, None) for key in _TIMMS)
    if not pretrained:
        return ConvNetSmall(**kwargs)
    if not source:
        raise ValueError(
            "convnet_small has no pretrained weights of its own: give local-dir:FOLDER or zoo:NAME"
        )
    return build_model_with_cfg(
        ConvNetSmall, "convnet_small", True, pretrained_cfg=source, pretrained_strict=True, **kwargs
    )
