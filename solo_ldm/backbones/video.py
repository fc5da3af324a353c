"""Vision transformers of clips, registered with timm: a token for a patch of several frames.

A clip is an image whose channels are those of its frames, one frame after another.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from solo_ldm.config.arguments import Count, checked

# What no network of images takes.
OF_CLIPS = ("tubelet", "colours")


class TubeletEmbed(nn.Module):
    """Embed tubelets, t frames × p × p pixels each, of clips (B, T·C, H, W).

    Tokens are numbered by time, then row by row: the map is the convolution over three axes with
    kernel and stride (t, p, p), computed as one over two axes of t·C channels.

    Args:
        img_size: side of the frames in pixels; a multiple of p.
        patch_size: p.
        in_chans: T·C.
        embed_dim: D.
        tubelet: t, frames of a token.
        colours: C, channels of a frame.
        **ignored: what timm tells the embedding of patches of images besides.

    Raises:
        ValueError: numbers that do not divide each other.
    """

    @checked
    def __init__(
        self,
        img_size: Count = 224,
        patch_size: Count = 16,
        in_chans: Count = 16,
        embed_dim: Count = 192,
        tubelet: Count = 2,
        colours: Count = 1,
        **ignored: Any,
    ) -> None:
        super().__init__()
        if in_chans % (tubelet * colours):
            raise ValueError(
                f"clips of {in_chans} channels (data.channels) are no whole number of tubelets of "
                f"{tubelet} frames of {colours}: change backbone.kwargs.tubelet or colours"
            )
        if img_size % patch_size:
            raise ValueError(
                f"frames of {img_size} pixels are no whole number of patches of {patch_size}: set "
                "backbone.kwargs.patch_size to a divisor"
            )
        self.img_size, self.patch_size = (img_size, img_size), (patch_size, patch_size)
        side = img_size // patch_size
        self.depth = tubelet * colours
        # Times, rows and columns.
        self.grid_size = (in_chans // self.depth, side, side)
        self.num_patches = self.grid_size[0] * side * side
        self.proj = nn.Conv2d(self.depth, embed_dim, patch_size, stride=patch_size)

    def forward(self, clips: Tensor) -> Tensor:
        """Return tokens (B, N, D) of clips (B, T·C, H, W).

        Raises:
            ValueError: clips of another shape.
        """
        expected = (self.grid_size[0] * self.depth, *self.img_size)
        if tuple(clips.shape[1:]) != expected:
            raise ValueError(
                f"clips: expected (B, {', '.join(map(str, expected))}), got {tuple(clips.shape)}; "
                "data.channels says how many frames a clip has (docs/video.md)"
            )
        times = self.grid_size[0]
        parts = clips.reshape(len(clips) * times, self.depth, *self.img_size)
        tokens = self.proj(parts).flatten(2).mT
        return tokens.reshape(len(clips), self.num_patches, tokens.shape[2])


# Where timm looks for what a name stands for.
default_cfgs = generate_default_cfgs(
    {
        "vit_video": {
            "input_size": (16, 224, 224),
            "num_classes": 0,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        }
    }
)


@register_model
def vit_video(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build a vision transformer of clips; tubelet and colours are those of `TubeletEmbed`.

    Source:
        Arnab et al., ViViT, arXiv 2103.15691, for tubelets; Bardes et al., V-JEPA, arXiv
        2404.08471.
    """
    about = {key: kwargs.pop(key) for key in OF_CLIPS if key in kwargs}
    sizes = {"patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3, **kwargs}
    sizes["embed_layer"] = partial(TubeletEmbed, **about)
    return build_model_with_cfg(VisionTransformer, "vit_video", pretrained, **sizes)


def tubelet_positions(times: int, rows: int, columns: int, dim: int) -> Tensor:
    """Return the sine and cosine embedding of the places of a grid, by time, then row by row.

    An axis with d of the D dimensions has, for k < d/2, sin(p ω_k) and then cos(p ω_k) of the
    position p, ω_k = 10000^(−2k/d). Time has D/2 dimensions, row and column D/4 each, in this
    order.

    Args:
        times: of tubelets.
        rows: of tubelets.
        columns: of tubelets.
        dim: D, a multiple of 8.

    Returns:
        (times · rows · columns, D), float32.

    Raises:
        ValueError: D is no multiple of 8.

    Source:
        Bardes et al., V-JEPA, arXiv 2404.08471, and its code (the shares of the axes).
    """
    if dim < 8 or dim % 8:
        raise ValueError(
            f"positions in clips need a multiple of 8 dimensions, got {dim}: change "
            "backbone.kwargs.embed_dim or method_kwargs.pred_embed_dim"
        )
    place = torch.cartesian_prod(*map(torch.arange, (times, rows, columns))).double()
    parts = []
    for axis, size in enumerate((dim // 2, dim // 4, dim // 4)):
        half = size // 2
        omega = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = place[:, axis, None] * omega
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1).float()
