"""Different latent models on different blocks of dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from solo_ldm.latents.base import LatentModel, Support


class ProductLatent(LatentModel):
    """Blocks of dimensions that are independent given the first view, each with its own model.

    log p(z1, z2) = Σ_b log p_b(z1_b, z2_b),   z = (z_1, …, z_b, …)

    Each term is at the training scale of its model, so that the precisions weigh the blocks. The
    entropy is taken block by block too: see `solo_ldm.objective.ProductObjective`.

    Args:
        models: of the blocks, in their order.
        dims: of the blocks; their sum is D.

    Raises:
        ValueError: no block, a block without a dimension, other numbers of models and dimensions.
    """

    support = "product"

    def __init__(self, models: Sequence[LatentModel], dims: Sequence[int]) -> None:
        super().__init__()
        if not models or len(models) != len(dims) or min(dims) < 1:
            raise ValueError(
                "a product needs at least one model and a dimension of at least 1 for each, "
                f"got {len(models)} models and dimensions {list(dims)}"
            )
        # Registered for `to` and printing; the list keeps their type.
        self.models, self._models = nn.ModuleList(models), list(models)
        self.dims = [int(dim) for dim in dims]

    def split(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks (B, D_b) of latents (B, D).

        Raises:
            ValueError: D is not the sum of the blocks.
        """
        return _split(z, self.dims, "latents")

    def split_predictions(self, predictions: Tensor) -> tuple[Tensor, ...]:
        """Return the predictions for each block.

        Raises:
            ValueError: another number of outputs than `prediction_dim`.
        """
        return _split(predictions, self._prediction_dims, "predictions")

    def columns(self, support: Support) -> slice | None:
        """Return the dimensions of the first block on a support; None where there is no such."""
        start = 0
        for model, dim in zip(self._models, self.dims, strict=True):
            if model.support == support:
                return slice(start, start + dim)
            start += dim
        return None

    def project(self, h: Tensor) -> Tensor:
        """Map each block of `h` (B, D) onto the support of its model."""
        blocks = zip(self._models, self.split(h), strict=True)
        return torch.cat([model.project(block) for model, block in blocks], dim=1)

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return Σ_b log p_b(z1_b, z2_b) for each pair.

        Args:
            z1: latents of the first view (B, D), or predictions of the second.
            z2: latents of the second view (B, D).

        Returns:
            (B,), at the training scales of the models.

        Raises:
            ValueError: shapes that do not fit.
        """
        blocks = zip(self._models, self.split_predictions(z1), self.split(z2), strict=True)
        return torch.stack([model.log_prob(one, other) for model, one, other in blocks]).sum(dim=0)

    def at(self, progress: float) -> None:
        """Set the share of the training that is done, 0 to 1, in each model."""
        for model in self._models:
            model.at(progress)

    def allocate(self, dim: int) -> None:
        """Make what each block keeps of its latents."""
        for model, size in zip(self._models, self.dims, strict=True):
            model.allocate(size)

    def observe(self, views: Sequence[Tensor]) -> None:
        """Let each block fit what it keeps."""
        blocks = zip(*map(self.split, views), strict=True)
        for model, block in zip(self._models, blocks, strict=True):
            model.observe(block)

    def health(self, z: Tensor) -> dict[str, float]:
        """Return what the blocks say; of equal names the last."""
        pairs = zip(self._models, self.split(z), strict=True)
        return {key: value for one, block in pairs for key, value in one.health(block).items()}

    def schedule(self, dim: int) -> dict[str, float | Tensor]:
        """Return the values that `at` has set in the blocks; of equal names the last."""
        pairs = zip(self._models, self.dims, strict=True)
        return {key: value for one, size in pairs for key, value in one.schedule(size).items()}

    def prediction_dim(self, dim: int) -> int:
        """Return how many outputs a predictor has: those of all blocks.

        Raises:
            ValueError: `dim` is not the sum of the blocks.
        """
        if dim != sum(self.dims):
            raise ValueError(f"the blocks have {sum(self.dims)} dimensions, the latents {dim}")
        return sum(self._prediction_dims)

    def prediction(self, h: Tensor) -> Tensor:
        """Map each block of a predictor's outputs to what `log_prob` takes for z1."""
        blocks = zip(self._models, self.split_predictions(h), strict=True)
        return torch.cat([model.prediction(block) for model, block in blocks], dim=1)

    @property
    def _prediction_dims(self) -> list[int]:
        pairs = zip(self._models, self.dims, strict=True)
        return [model.prediction_dim(dim) for model, dim in pairs]

    def extra_repr(self) -> str:
        """Show the dimensions when printed."""
        return f"dims={self.dims}"


def _split(x: Tensor, dims: list[int], what: str) -> tuple[Tensor, ...]:
    if x.ndim != 2 or x.shape[1] != sum(dims):
        raise ValueError(
            f"{what} of shape (B, {' + '.join(map(str, dims))}) are expected, got {tuple(x.shape)}"
        )
    return x.split(dims, dim=1)
