"""What simulated data sets share: random streams, sequences of one length, bounds of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from predictive.data.sequences import Sequences
from solo_ldm.config.arguments import Bounds, checked

Steps = Annotated[int, Bounds(2)]
Seed = Annotated[int, Bounds(0)]


@checked
def random_streams(seed: Seed, count: int) -> list[torch.Generator]:
    """Return independent generators of random numbers, the same for the same seed.

    Raises:
        ValueError: a seed that is not a whole number from 0.
    """
    # torch's generator on the CPU uses 32 bits of its seed; numpy spreads ours over them.
    children = np.random.SeedSequence(int(seed)).spawn(count)
    return [torch.Generator().manual_seed(int(c.generate_state(1)[0])) for c in children]


def equal_sequences(
    inputs: Tensor, targets: Mapping[str, Tensor], step_seconds: float
) -> Sequences:
    """Return sequences that all start at 0 s and fill their length; targets become float32."""
    return Sequences(
        inputs,
        torch.full((inputs.shape[0],), inputs.shape[1], dtype=torch.int64),
        {name: values.to(torch.float32) for name, values in targets.items()},
        torch.zeros(inputs.shape[0], dtype=torch.float64),
        float(step_seconds),
    )
