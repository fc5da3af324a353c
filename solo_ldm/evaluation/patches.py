"""Features of an image as the mean over patches of it: a bag of features."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from solo_ldm.config.arguments import Bounds, Count, checked

_Share = Annotated[float, Bounds(above=0, high=1)]

# Steps of the plane's R2 sequence: 1/ρ and 1/ρ², ρ³ = ρ + 1. Its points are even for any number.
_STEPS = (0.7548776662466927, 0.5698402909980532)


PATCH_SHARE = 0.25  # EMP-SSL's


class PatchMean(nn.Module):
    """The mean of a backbone's features over square patches, resized to the size of the image.

    f̄(x) = (1/n) Σ_i f(x_i),   x_i of the area of `share` of x, the first in the middle

    Places are the same for all images: points of a sequence that fills the square evenly.

    Args:
        backbone: f, maps images (B, C, H, W) to features (B, D).
        number: n.
        share: of the area of an image in a patch, in (0, 1].

    Raises:
        ValueError: n below 1, a share out of its range.

    Source:
        Tong et al., EMP-SSL, arXiv 2304.03977; Chen et al., Bag of Image Patch Embedding,
        arXiv 2206.08954; Roberts, The Unreasonable Effectiveness of Quasirandom Sequences (2018).
    """

    @checked
    def __init__(self, backbone: nn.Module, number: Count, share: _Share = PATCH_SHARE) -> None:
        super().__init__()
        self.backbone, self.number, self.share = backbone, number, float(share)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, D) of images (B, C, H, W)."""
        sides = images.shape[-2:]
        lengths = [max(1, round(side * self.share**0.5)) for side in sides]
        features = []
        for number in range(self.number):
            top, left = (
                round((side - length) * ((0.5 + number * step) % 1.0))
                for side, length, step in zip(sides, lengths, _STEPS, strict=True)
            )
            patch = images[..., top : top + lengths[0], left : left + lengths[1]]
            features.append(self.backbone(interpolate(patch, sides, mode="bicubic")))
        return torch.stack(features).mean(dim=0)
