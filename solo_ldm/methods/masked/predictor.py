"""What predicts the patches of a block from the context: a narrow transformer, or a linear map."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from solo_ldm.methods.masked.tokens import positions_of, take


class BlockPredictor(nn.Module):
    """Predict the patches of blocks from the patches of a context, each block by itself.

    Context tokens W c_i + e(i) and, for each patch j of the block, a mask token m + e(j) pass
    through a transformer, whose outputs at the mask tokens are the prediction. m is learned and the
    same for all patches and e is `positions`: predictions of a block differ by position alone.

    Args:
        dim: D, dimension of the context's patches.
        num_outputs: dimension of the prediction of a patch.
        grid: rows and columns of patches; of a clip times, rows and columns.
        width: dimension of the predictor's tokens, a multiple of 4 and of num_heads.
        depth: blocks of the transformer.
        num_heads: heads of the attention.

    Raises:
        ValueError: numbers that are not above 0, or a width that does not fit.

    Source:
        Assran et al., I-JEPA, arXiv 2301.08243, section 3.
    """

    place: Tensor

    def __init__(
        self,
        dim: int,
        num_outputs: int,
        grid: tuple[int, ...],
        width: int,
        depth: int,
        num_heads: int,
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(
                f"method_kwargs.pred_embed_dim={width} is no multiple of "
                f"method_kwargs.pred_num_heads={num_heads}: change one of them"
            )
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.blocks = nn.Sequential(*(Block(width, num_heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)
        self.register_buffer("place", positions_of(grid, width), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, context: Tensor, kept: Tensor, targets: Tensor) -> Tensor:
        """Return the predictions of the target blocks.

        Args:
            context: encoded patches of the context (B, K, D).
            kept: their indexes (B, K).
            targets: indexes of the patches of M blocks (B, M, S).

        Returns:
            (B, M, S, num_outputs).
        """
        batch, blocks, size = targets.shape
        seen = self.embed(context) + self.place[kept]
        asked = self.mask_token + self.place[targets]
        tokens = torch.cat(
            [seen[:, None].expand(-1, blocks, -1, -1), asked.to(seen.dtype)], dim=2
        ).flatten(0, 1)
        tokens = self.blocks(tokens)[:, -size:]
        return self.head(self.norm(tokens)).unflatten(0, (batch, blocks))


class LinearPredictor(nn.Module):
    """Predict each patch from the token that the encoder has at its place: W c + b.

    The encoder has one there if a mask token stands for what is hidden.

    Args:
        dim: D, dimension of the encoder's tokens.
        num_outputs: dimension of the prediction of a patch.
    """

    def __init__(self, dim: int, num_outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(dim, num_outputs)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, context: Tensor, kept: Tensor, targets: Tensor) -> Tensor:
        """Return the predictions of the target blocks.

        Args:
            context: tokens at all places (B, N, D).
            kept: their indexes (B, N), row by row.
            targets: indexes of the patches of M blocks (B, M, S).

        Returns:
            (B, M, S, num_outputs).
        """
        return self.head(at_blocks(context, targets))


def at_blocks(patches: Tensor, targets: Tensor) -> Tensor:
    """Return the patches (B, M, S, D) of (B, N, D) at the places of M blocks (B, M, S)."""
    return take(patches, targets.flatten(1)).unflatten(1, targets.shape[1:])
