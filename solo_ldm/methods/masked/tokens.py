"""Patches of timm's vision transformers: positions, some of them encoded, all of them encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import PatchEmbed  # pyright: ignore[reportPrivateImportUsage]
from timm.models import is_model, is_model_in_modules  # pyright: ignore[reportPrivateImportUsage]
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from solo_ldm.backbones import SOLO_LEARN_NAMES, TubeletEmbed
from solo_ldm.backbones.video import tubelet_positions

# Where timm has plain vision transformers, and we those of clips.
_MODULES = ("vision_transformer", "deit", "video")
_NEEDED = (
    "method=masked needs one of timm's plain vision transformers, such as vit_tiny_patch16_224"
)


def positions(rows: int, columns: int, dim: int) -> Tensor:
    """Return the sine and cosine embedding of the positions of a grid, row by row.

    With ω_k = 10000^(−4k/D) for k < D/4, the embedding of position (r, c) is, in this order,
    sin(ω_k r), cos(ω_k r), sin(ω_k c), cos(ω_k c).

    Args:
        rows: of patches.
        columns: of patches.
        dim: D, a multiple of 4.

    Returns:
        (rows · columns, D), float32.

    Raises:
        ValueError: D is no multiple of 4.

    Source:
        Vaswani et al., arXiv 1706.03762, section 3.5, along both axes as in the vision
        transformers of Chen, Xie and He, arXiv 2104.02057.
    """
    if dim < 4 or dim % 4:
        raise ValueError(
            f"positions by sines and cosines need a multiple of 4 dimensions, got {dim}: change "
            "backbone.kwargs.embed_dim or method_kwargs.pred_embed_dim"
        )
    quarter = dim // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    angles = place[:, :, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1).float()


def positions_of(grid: Sequence[int], dim: int) -> Tensor:
    """Return the embedding of the positions of a grid: rows and columns, or times before them."""
    if len(grid) == 3:
        return tubelet_positions(grid[0], grid[1], grid[2], dim)
    return positions(grid[0], grid[1], dim)


def grid_of(backbone: VisionTransformer) -> tuple[int, ...]:
    """Return rows and columns of patches of an image; of a clip times, rows and columns."""
    embed: Any = backbone.patch_embed
    return tuple(embed.grid_size)


def check_name(name: str) -> None:
    """Raise a one-line ValueError for a model of timm that is no vision transformer.

    Called before the model is built: others do not know a vision transformer's arguments.
    """
    timm_name = SOLO_LEARN_NAMES.get(name, name)
    if is_model(timm_name) and not is_model_in_modules(timm_name, _MODULES):
        raise ValueError(f"backbone.name={name}: {_NEEDED}")


def check_backbone(backbone: nn.Module, name: str, image_size: int) -> VisionTransformer:
    """Return a backbone from which single patches can be left out, typed as one.

    Args:
        backbone: of `solo_ldm.backbones.create_backbone`.
        name: for messages.
        image_size: side of the images in pixels.

    Raises:
        ValueError: in one line: no plain vision transformer, or one with other settings than the
            method needs.
    """
    if type(backbone) is not VisionTransformer or type(backbone.patch_embed) not in (
        PatchEmbed,
        TubeletEmbed,
    ):
        raise ValueError(f"backbone.name={name}: {_NEEDED}")
    embed: Any = backbone.patch_embed
    patch = tuple(embed.patch_size)
    if any(image_size % side for side in patch):
        raise ValueError(
            f"images of {image_size} pixels are no whole number of patches of {patch[0]}: set "
            "backbone.kwargs.patch_size to a divisor"
        )
    if tuple(embed.img_size) != (image_size, image_size):
        raise ValueError(
            f"backbone.name={name} is built for {embed.img_size[0]} pixels and the images have "
            f"{image_size}: set +backbone.kwargs.img_size={image_size}"
        )
    wrong = None
    if backbone.global_pool != "avg":
        wrong = f"features are the mean of the patches, got global_pool={backbone.global_pool!r}"
    elif not isinstance(backbone.fc_norm, nn.Identity):
        wrong = "patches are normalised before they are averaged, not their mean"
    if wrong:
        raise ValueError(
            f"backbone.name={name}: {wrong}: set ++backbone.kwargs.class_token=false, "
            "++backbone.kwargs.global_pool=avg and ++backbone.kwargs.fc_norm=false"
        )
    if not isinstance(backbone.patch_drop, nn.Identity):
        raise ValueError(
            "backbone.kwargs.patch_drop_rate: method=masked leaves out patches itself, remove it"
        )
    return backbone


def fix_positions(backbone: VisionTransformer) -> None:
    """Set a transformer's position embedding to `positions` and freeze it.

    The embedding of tokens that are no patches, such as a class token, becomes zero.

    Raises:
        ValueError: a transformer without such an embedding, or with a dimension that does not fit.
    """
    if backbone.pos_embed is None:
        raise ValueError(
            "the backbone has no position embedding: remove backbone.kwargs.pos_embed, or set "
            "method_kwargs.positions=learned for what it has in its place"
        )
    place = positions_of(grid_of(backbone), backbone.embed_dim)
    with torch.no_grad():
        backbone.pos_embed.zero_()
        backbone.pos_embed[0, -len(place) :] = place
    backbone.pos_embed.requires_grad_(False)


def encode(
    backbone: VisionTransformer,
    images: Tensor,
    kept: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> Tensor:
    """Return a transformer's tokens of images, computed from all patches or from some only.

    Patches that are left out, or that a mask token stands for, are not seen: their pixels cannot
    reach the others.

    Args:
        backbone: see `check_backbone`.
        images: (B, 3, H, W).
        kept: (B, K) indexes of the patches, row by row; all if not given.
        mask_token: (D,) what embeds each other patch before its position is added; the others are
            left out if not given.

    Returns:
        (B, P + K, D): P prefix tokens, such as a class token, and the patches; with a mask token
        (B, P + N, D), all patches.
    """
    tokens = backbone.patch_embed(images)
    if kept is not None and mask_token is not None:
        count = tokens.shape[1:-1].numel()
        hidden = torch.ones(len(tokens), count, dtype=torch.bool, device=tokens.device)
        hidden = hidden.scatter(1, kept, False).view(tokens.shape[:-1])
        tokens = torch.where(hidden[..., None], mask_token.to(tokens.dtype), tokens)
    tokens = backbone._pos_embed(tokens)
    if kept is not None and mask_token is None:
        prefix = backbone.num_prefix_tokens
        tokens = torch.cat([tokens[:, :prefix], take(tokens[:, prefix:], kept)], dim=1)
    return backbone.norm(backbone.blocks(backbone.norm_pre(tokens)))


def encode_blocks(
    backbone: VisionTransformer, images: Tensor, num_blocks: int
) -> tuple[Tensor, list[Tensor]]:
    """Return a transformer's tokens of whole images, and its patches after its last blocks.

    Args:
        backbone: see `check_backbone`.
        images: (B, 3, H, W).
        num_blocks: how many of the last blocks; of one alone, the patches after the last
            normalisation.

    Returns:
        (B, P + N, D) tokens after the last normalisation; `num_blocks` times (B, N, D).
    """
    if num_blocks > 1:
        return backbone.forward_intermediates(images, num_blocks, output_fmt="NLC")  # pyright: ignore
    tokens = encode(backbone, images)
    return tokens, [patches_of(backbone, tokens)]


def patches_of(backbone: VisionTransformer, tokens: Tensor) -> Tensor:
    """Return the tokens that are patches, (B, K, D) of (B, P + K, D)."""
    return tokens[:, backbone.num_prefix_tokens :]


def take(patches: Tensor, which: Tensor) -> Tensor:
    """Return patches (B, K, D) of (B, N, D), by their indexes (B, K)."""
    return patches.gather(1, which[..., None].expand(-1, -1, patches.shape[2]))
