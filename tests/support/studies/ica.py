"""Small mixtures for the tests of linear ICA."""

from __future__ import annotations

import torch


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixed_uniform(num_samples: int = 400, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    sources = torch.rand(num_samples, 3, generator=generator, dtype=torch.float64) - 0.5
    return sources @ draw(3, 3, seed=seed + 1).T
