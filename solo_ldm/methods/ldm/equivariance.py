"""Soft equivariance: feature maps of turned and flipped images agree with turned, flipped maps."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from solo_ldm.data.augment.draws import Uniforms
from solo_ldm.distributed import alone, by_rows, gather
from solo_ldm.latents import VonMisesFisherSphere
from solo_ldm.methods.ldm.chunks import averages_held
from solo_ldm.methods.ldm.settings import LDMSettings
from solo_ldm.numerics import at_least_single, narrow, widen
from solo_ldm.objective import LDMTerms
from solo_ldm.pairs import reduced_kernels

# Symmetries of a square: 0 leaves it as it is, 1 to 3 are quarter turns, 4 to 7 turns and a flip.
SYMMETRIES = 8

# The stream of random numbers, apart from those of views, masks, pairs and captions.
_STREAM = 2**34

# Units of the projection, as of the authors'.
_WIDTH = 512


class Equivariance(nn.Module):
    """Positions of feature maps, matched as two views of each other on the sphere.

    With F a network up to a layer and a projection of each position, g a symmetry of the square,
    z the unit vectors at the N positions of g F(x) and z' those of F(g x), for all images x:

    log p = (1/N) Σ_i κ z_iᵀz'_i
    H     = −(1/N) Σ_i [ log Σ_j exp(κ z_iᵀz'_j) + log Σ_j exp(κ z'_iᵀz_j) ]
    loss  = −log p − H/2

    where j is i and the positions of other images: those of the same image may well look alike.
    It is the cell of the sphere with the kernel entropy over=cross at a weight of ½, where latents
    are positions. Images go through the network up to the layer twice more; its running averages
    stay those of the views.

    Args:
        layer: number of the feature map, as timm's `forward_intermediates` counts from 0.
        num_channels: of that map.
        num_samples: m ≥ 2, images of a step, of all processes together.
        precision: κ, one over the temperature.
        weight: of the loss in that of a method.

    Source:
        Lee et al., Soft Equivariance Regularization, arXiv 2603.06693, and the authors' code
        (github.com/aitrics-chris/SER). They have scale changes too, two colour jitters of the crop,
        and a flip and half turns for each image.
    """

    def __init__(
        self,
        layer: int,
        num_channels: int,
        num_samples: int = 8,
        precision: float = 2.0,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.layer, self.num_samples = layer, num_samples
        self.precision, self.weight = precision, weight
        self.latent = VonMisesFisherSphere(precision)
        self.projector = nn.Sequential(
            LayerNorm2d(num_channels),
            nn.Conv2d(num_channels, _WIDTH, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(_WIDTH, _WIDTH, 1, bias=False),
        )

    def forward(self, backbone: Any, images: Tensor, symmetry: int) -> LDMTerms:
        """Return the loss and its terms over the images of all processes.

        Args:
            backbone: with timm's `forward_intermediates`.
            images: (n, C, H, H) of this process, the same number in all.
            symmetry: g, a number below `SYMMETRIES`.
        """
        with averages_held(backbone):
            maps = _maps(backbone, torch.cat([images, moved(images, symmetry)]), [self.layer])[0]
        first, second = self.projector(maps).chunk(2)
        positions = first[0, 0].numel()
        views = [self._latents(moved(first, symmetry)), self._latents(second)]
        z1, z2 = gather(torch.stack(views, dim=1)).unbind(dim=1)
        log_prob = self.latent.log_prob(z1, z2).mean()

        def log_sums(exponents: Tensor, start: int) -> Tensor:
            rows, columns = (torch.arange(n, device=z1.device) for n in exponents.shape)
            same = ((start + rows) // positions)[:, None] == columns // positions
            same.diagonal(start).fill_(False)
            return torch.logsumexp(exponents.masked_fill(same, -torch.inf), dim=1)

        wide = widen(z1), widen(z2)
        with by_rows():
            sums = [
                reduced_kernels(x, centres, self.precision, False, log_sums).mean()
                for x, centres in (wide, wide[::-1])
            ]
        entropy = narrow(-(sums[0] + sums[1]), z1)
        return LDMTerms(-log_prob - 0.5 * entropy, log_prob, entropy)

    def of_step(self, method: Any, crops: list[Tensor], step: int) -> LDMTerms:
        """Return the terms of some first crops, moved by what (seed, epoch, step) draw.

        Images are spread evenly over the batch of all processes.

        Args:
            method: with `backbone`, `cfg` and `current_epoch`.
            crops: of the batch of this process.
            step: of the epoch.
        """
        processes = 1 if alone() else dist.get_world_size()
        every = max(1, len(crops[0]) * processes // self.num_samples)
        images = crops[0][::every][: max(1, self.num_samples // processes)]
        if method.channels_last:
            images = images.to(memory_format=torch.channels_last)
        drawn = draw_symmetry(method.cfg.seed, method.current_epoch, step)
        return self(method.backbone, images, drawn)

    def _latents(self, maps: Tensor) -> Tensor:
        """Return unit vectors (n·H·W, D) of maps (n, D, H, W), position by position."""
        return self.latent.project(at_least_single(maps).permute(0, 2, 3, 1).flatten(0, 2))


def moved(images: Tensor, symmetry: int) -> Tensor:
    """Return images or maps (B, C, H, H) after quarter turns and perhaps a flip.

    Args:
        images: square.
        symmetry: a number below `SYMMETRIES`: its remainder by 4 turns, then 4 or more flip.
    """
    turned = torch.rot90(images, symmetry % 4, (2, 3))
    return turned.flip(3) if symmetry >= 4 else turned


def draw_symmetry(seed: int, epoch: int, step: int) -> int:
    """Return one of the symmetries that move something, a function of its arguments alone."""
    share = Uniforms(seed, epoch, _STREAM, [step]).take(1)[0, 0]
    return 1 + int(share * (SYMMETRIES - 1))


def equivariance_of(settings: LDMSettings, cfg: Any, backbone: Any) -> Equivariance | None:
    """Build the term of a cell; None without one.

    Args:
        settings: of the cell.
        cfg: of the run.
        backbone: whose feature maps are measured.

    Raises:
        ValueError: in one line: a host, a network or a layer without square feature maps.
    """
    if not settings.equivariance_weight:
        return None
    size = cfg.data.get("image_size")
    if size is None:
        raise ValueError(
            "method_kwargs.equivariance_weight: expected 0 on solo-learn's host, got "
            f"{settings.equivariance_weight}; train with solo-ldm pretrain, or leave it out"
        )
    maps: list[Tensor] = []
    if hasattr(backbone, "forward_intermediates"):
        images = torch.zeros(1, cfg.backbone.kwargs.get("in_chans", 3), size, size)
        training = backbone.training
        with torch.no_grad():
            maps = _maps(backbone.eval(), images, None)
        backbone.train(training)
    if not maps:
        raise ValueError(
            f"backbone.name={cfg.backbone.name}: expected a network with feature maps (timm's "
            "forward_intermediates) for method_kwargs.equivariance_weight, got none; choose "
            "another, or leave it out"
        )
    layer = settings.equivariance_layer
    layer = (len(maps) - 1) // 2 if layer is None else layer
    if layer >= len(maps):
        raise ValueError(
            f"method_kwargs.equivariance_layer: expected a number below {len(maps)}, that of a "
            f"feature map of backbone.name={cfg.backbone.name}, got {layer}"
        )
    _, channels, height, width = maps[layer].shape
    if height != width or height == 1:
        raise ValueError(
            f"method_kwargs.equivariance_layer: expected a square map of more than one position, "
            f"got {height} × {width} at {layer}; choose another, or leave it out"
        )
    return Equivariance(
        layer,
        channels,
        settings.equivariance_samples,
        settings.equivariance_precision,
        settings.equivariance_weight,
    )


def _maps(backbone: Any, images: Tensor, indices: list[int] | None) -> list[Tensor]:
    """Return feature maps (B, C, H, W) of a network."""
    how = {"stop_early": True, "output_fmt": "NCHW", "intermediates_only": True}
    return backbone.forward_intermediates(images, indices=indices, **how)
