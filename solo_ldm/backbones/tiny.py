"""Residual networks for 32-pixel images on a few CPU cores, registered with timm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from timm.layers.classifier import ClassifierHead
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, downsample_avg
from torch import Tensor, nn

from solo_ldm.backbones.small import maps_of
from solo_ldm.config.arguments import Bounds, Count, checked

# Channels of the first stage: resnet_tiny_32 etc.
WIDTHS = (32, 48, 64, 96)


class ResNetTiny(nn.Module):
    """A 3×3 convolution of stride 2, then three stages of one basic block each.

    A ResNet-8 whose first layer halves the image, so that hardly any time is spent where there are
    many pixels and few channels: there a CPU is bound by its memory. The stages have width ×
    (1, 2, 4) channels at 1/2, 1/4 and 1/8 of the image's side; shortcuts that change the size
    average before they project. A last 1×1 convolution gives 16 × width features, which a linear
    classifier needs and which cost little there.

    Args:
        width: channels of the first stage.
        num_classes: outputs of the classifier; 0 for none.
        in_chans: channels of the images.
        global_pool: timm's name of the pooling; "" for none.
        drop_rate: of the features before the classifier.

    Raises:
        ValueError: a number below 1, of classes below 0.

    Source: He et al., arXiv 1512.03385 (blocks); He et al., arXiv 1812.01187, ResNet-D (shortcuts).
    """

    @checked
    def __init__(
        self,
        width: Count = 64,
        num_classes: Annotated[int, Bounds(0)] = 0,
        in_chans: Count = 3,
        global_pool: str = "avg",
        drop_rate: Annotated[float, Bounds(0, below=1)] = 0.0,
    ) -> None:
        super().__init__()
        # Where timm finds maps of features: features_only=True.
        self.feature_info = [
            {
                "num_chs": width * 2**stage,
                "reduction": 2 ** (stage + 1),
                "module": f"stages.{stage}",
            }
            for stage in range(3)
        ]
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.Sequential(BasicBlock(width, width))
        for before in (width, 2 * width):
            shortcut = downsample_avg(before, 2 * before, 1, stride=2)
            self.stages.append(BasicBlock(before, 2 * before, stride=2, downsample=shortcut))
        self.num_features = 16 * width
        self.last = nn.Sequential(
            nn.Conv2d(4 * width, self.num_features, 1, bias=False),
            nn.BatchNorm2d(self.num_features),
            nn.ReLU(inplace=True),
        )
        self.head = ClassifierHead(self.num_features, num_classes, global_pool, drop_rate)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def num_classes(self) -> int:
        """The number of outputs of the classifier; 0 for none."""
        return getattr(self.head.fc, "out_features", 0)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier; 0 removes it."""
        self.head.reset(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the feature maps (B, C, H/8, W/8) of images (B, in_chans, H, W)."""
        return self.last(self.stages(self.stem(x)))

    def forward_intermediates(
        self, x: Tensor, indices: int | list[int] | None = None, **how: Any
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the feature maps after stages, those of `feature_info`; see `maps_of`."""
        first, *others = self.stages
        return maps_of([nn.Sequential(self.stem, first), *others], x, indices, **how)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool feature maps to (B, C) and classify unless `pre_logits`."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, C), or logits when there is a classifier."""
        return self.forward_head(self.forward_features(x))


def _entry_point(width: int) -> Callable[..., nn.Module]:
    """Return the function that builds a network of a width, named as timm lists it."""

    def build(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return build_model_with_cfg(
            ResNetTiny,
            build.__name__,
            pretrained,
            pretrained_strict=not kwargs.get("features_only"),
            feature_cfg={"out_indices": (0, 1, 2), "flatten_sequential": True},
            width=width,
            **kwargs,
        )

    build.__name__ = f"resnet_tiny_{width}"
    return build


# Where timm looks for what a name stands for.
default_cfgs = generate_default_cfgs(
    {
        f"resnet_tiny_{width}": {
            "input_size": (3, 32, 32),
            "pool_size": (4, 4),
            "num_classes": 0,
            "first_conv": "stem.0",
            "classifier": "head.fc",
        }
        for width in WIDTHS
    }
)
for _width in WIDTHS:
    register_model(_entry_point(_width))
