"""What is predicted of each patch: latents of a network, pixels, gradients, or tokens of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from solo_ldm.distributed import of_first

# Latent models of a vector given its prediction. The others fit what two views have in common to
# the batch, or have parts that a patch has not.
_OF_VECTORS = ("plane", "sphere", "huber", "conditional")

# To fit a codebook to.
_PATCHES_A_TOKEN = 50


class PatchTargets(nn.Module, ABC):
    """Maps images, or what a network makes of them, to a target for each patch.

    Arguments of a constructor besides the backbone are keys of method_kwargs.
    """

    # Latent models that go with it; the first is the default.
    latents: ClassVar[tuple[str, ...]] = _OF_VECTORS
    # Whether it is what the network makes of images, which could collapse, and not data.
    learned: ClassVar[bool] = False

    def __init__(self, dim: int, num_blocks: int = 1) -> None:
        super().__init__()
        # Of a target as a latent: what the latent model makes a prediction for.
        self.dim = dim
        # Of the target network, whose outputs are asked for.
        self.num_blocks = num_blocks

    def check_count(self, num_images: int) -> None:
        """Raise a one-line ValueError if so many training images are too few to prepare."""
        return

    def prepare(self, sample: Callable[[int], Iterable[Any]], seed: int) -> None:
        """Look at training images before the first step; not again where a run goes on.

        All processes call it, and have the same afterwards.

        Args:
            sample: gives batches (images, labels) of up to so many training images, always the
                same.
            seed: of the run.
        """
        return

    @abstractmethod
    def forward(self, images: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return the targets of all patches.

        Args:
            images: (B, C, H, W).
            outputs: patches after each of the last `num_blocks` blocks of the target network, each
                (B, N, D): after its last normalisation if it is one.

        Returns:
            (B, N, T): T = `dim`, or 1 for indexes of categories.
        """


class LatentTargets(PatchTargets):
    """Mean over the last K blocks of the target network of its patches, each normalised.

    Args:
        vit: the backbone.
        target_blocks: K; one takes the patches after the network's last normalisation.
        normalise_patches: subtract from a patch its mean over dimensions and divide by its standard
            deviation.

    Raises:
        ValueError: more blocks than the backbone has.

    Source:
        Assran et al., I-JEPA, arXiv 2301.08243, for one block; Baevski et al., data2vec, arXiv
        2202.03555, for several.
    """

    learned = True

    def __init__(
        self, vit: VisionTransformer, target_blocks: int = 1, normalise_patches: bool = True
    ) -> None:
        if target_blocks > len(vit.blocks):
            raise ValueError(
                f"method_kwargs.target_blocks: expected at most {len(vit.blocks)}, the blocks of "
                f"the backbone, got {target_blocks}"
            )
        super().__init__(vit.embed_dim, target_blocks)
        self.normalise_patches = normalise_patches

    def forward(self, images: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the outputs, each normalised, (B, N, D)."""
        if self.normalise_patches:
            outputs = [normalised(patches) for patches in outputs]
        return torch.stack(list(outputs)).mean(dim=0)


class PixelTargets(PatchTargets):
    """Pixels of each patch: row by row, the channels of a pixel side by side.

    With `normalise_pixels` (x − mean) / √(variance + 1e-6), mean and variance over the patch.

    Args:
        vit: the backbone.
        normalise_pixels: see above.

    Source:
        He et al., MAE, arXiv 2111.06377.
    """

    def __init__(self, vit: VisionTransformer, normalise_pixels: bool = True) -> None:
        size = _size(vit)
        super().__init__(math.prod(size) * _channels(vit))
        self.patch_size = size
        self.normalise_pixels = normalise_pixels

    @torch.no_grad()
    def forward(self, images: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return the pixels of the patches of images, (B, N, height · width · C)."""
        height, width = self.patch_size
        patches = images.unfold(2, height, height).unfold(3, width, width)
        patches = patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        if not self.normalise_pixels:
            return patches
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        return (patches - mean) * (variance + 1e-6).rsqrt()


class GradientTargets(PatchTargets):
    """Histograms of the oriented gradients of each patch: cell by cell, of each channel.

    Differences of the pixels on both sides (none across the border of the image) have a size and an
    angle from 0 to π. A histogram is the mean over a cell of the sizes, by angle, and is divided by
    √(its squared length + 1e-10): its contrast.

    Args:
        vit: the backbone.
        num_orientations: bins of an angle.
        cell_size: side of a cell in pixels; that of a patch, if it is smaller.

    Raises:
        ValueError: cells that do not divide the patches.

    Source:
        Wei et al., MaskFeat, arXiv 2112.09133, on colours as there; Dalal & Triggs 2005, with
        blocks of one cell.
    """

    def __init__(
        self, vit: VisionTransformer, num_orientations: int = 9, cell_size: int = 8
    ) -> None:
        size = _size(vit)
        cell = min(cell_size, *size)
        if any(side % cell for side in size):
            raise ValueError(
                f"method_kwargs.cell_size={cell_size} does not divide patches of {size[0]} pixels: "
                "set it to a divisor"
            )
        cells = (size[0] // cell, size[1] // cell)
        super().__init__(math.prod(cells) * num_orientations * _channels(vit))
        self.cell_size, self.cells, self.num_orientations = cell, cells, num_orientations

    @torch.no_grad()
    def forward(self, images: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return the histograms of images, (B, N, C · orientations · cells)."""
        x = images.float() if images.dtype != torch.float64 else images
        down, right = torch.zeros_like(x), torch.zeros_like(x)
        down[..., 1:-1, :] = x[..., 2:, :] - x[..., :-2, :]
        right[..., :, 1:-1] = x[..., :, 2:] - x[..., :, :-2]
        turn = torch.atan2(down, right).remainder(math.pi) / math.pi
        bins = (turn * self.num_orientations).long().clamp_max(self.num_orientations - 1)
        sizes = torch.zeros(
            (*x.shape[:2], self.num_orientations, *x.shape[2:]), dtype=x.dtype, device=x.device
        ).scatter_(2, bins.unsqueeze(2), torch.hypot(down, right).unsqueeze(2))
        histograms = F.avg_pool2d(sizes.flatten(0, 1), self.cell_size)
        length = histograms.square().sum(dim=1, keepdim=True)
        histograms = (histograms * (length + 1e-10).rsqrt()).unflatten(0, x.shape[:2])
        # (B, C, bins, rows of cells, columns of cells) to patches of cells.
        high, wide = self.cells
        patches = histograms.unfold(3, high, high).unfold(4, wide, wide)
        return patches.permute(0, 3, 4, 1, 2, 5, 6).flatten(3).flatten(1, 2)


class TokenTargets(PatchTargets):
    """The index of the nearest of K centres to the pixels of each patch, by Euclidean distance.

    The centres are found by k-means on patches of training images before the first step; they are a
    buffer, saved with the weights.

    Args:
        vit: the backbone.
        num_tokens: K.
        normalise_pixels: as of `PixelTargets`.

    Source:
        Bao et al., BEiT, arXiv 2106.08254, whose tokens are those of a discrete autoencoder of
        images.
    """

    latents = ("categorical_conditional",)
    centres: Tensor
    fitted: Tensor

    def __init__(
        self, vit: VisionTransformer, num_tokens: int = 8192, normalise_pixels: bool = True
    ) -> None:
        super().__init__(num_tokens)
        self.pixels = PixelTargets(vit, normalise_pixels)
        self.num_patches = vit.patch_embed.num_patches
        self.register_buffer("centres", torch.zeros(num_tokens, self.pixels.dim))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def check_count(self, num_images: int) -> None:
        """Raise a one-line ValueError if so many images have fewer patches than tokens."""
        num_patches, num_tokens = num_images * self.num_patches, len(self.centres)
        if num_patches < num_tokens:
            raise ValueError(
                f"method_kwargs.num_tokens: expected at most {num_patches}, the patches of the "
                f"{num_images} training images, got {num_tokens}; lower it, or give more images"
            )

    def prepare(self, sample: Callable[[int], Iterable[Any]], seed: int) -> None:
        """Fit the centres, on one core so that they are a function of the images and the seed.

        Raises:
            ValueError: fewer patches than tokens.
        """
        from sklearn.cluster import MiniBatchKMeans

        if self.fitted:
            return
        num_tokens = len(self.centres)
        images = sample(math.ceil(_PATCHES_A_TOKEN * num_tokens / self.num_patches))
        patches = torch.cat([self.pixels(one, ()).flatten(0, 1).cpu() for one, _ in images])
        self.check_count(len(patches) // self.num_patches)  # of images that can be read
        means = MiniBatchKMeans(num_tokens, random_state=seed, n_init=1)  # pyright: ignore[reportArgumentType]
        with threadpool_limits(1):
            means.fit(patches.float().numpy())
        centres = torch.from_numpy(means.cluster_centers_).to(self.centres)
        self.centres.copy_(of_first(centres))
        self.fitted.fill_(True)

    @torch.no_grad()
    def forward(self, images: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return the tokens of the patches of images, (B, N, 1), whole numbers."""
        patches = self.pixels(images, outputs)
        with torch.autocast(images.device.type, enabled=False):
            centres = self.centres.to(patches.dtype)
            distances = torch.cdist(patches, centres.expand(len(patches), -1, -1))
        return distances.argmin(dim=2, keepdim=True)


# What method_kwargs.predict may be.
TARGETS: dict[str, type[PatchTargets]] = {
    "latents": LatentTargets,
    "pixels": PixelTargets,
    "gradients": GradientTargets,
    "tokens": TokenTargets,
}


def normalised(patches: Tensor) -> Tensor:
    """Return patches (B, N, D) less their means over dimensions, over their deviations."""
    return F.layer_norm(patches, patches.shape[-1:])


def _size(vit: VisionTransformer) -> tuple[int, int]:
    """Return the height and the width of a patch in pixels."""
    embed: Any = vit.patch_embed
    return tuple(embed.patch_size)


def _channels(vit: VisionTransformer) -> int:
    """Return the channels of an image."""
    embed: Any = vit.patch_embed
    return embed.proj.in_channels
