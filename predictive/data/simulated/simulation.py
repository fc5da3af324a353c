"""What simulated data sets share: random streams, checks of settings, sequences of one length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from predictive.data.sequences import Sequences


def random_streams(seed: int, count: int) -> list[torch.Generator]:
    """Return independent generators of random numbers, the same for the same seed.

    Raises:
        ValueError: a seed that is not a whole number from 0.
    """
    check_whole("seed", seed, 0)
    # torch's generator on the CPU uses 32 bits of its seed; numpy spreads ours over them.
    children = np.random.SeedSequence(int(seed)).spawn(count)
    return [torch.Generator().manual_seed(int(c.generate_state(1)[0])) for c in children]


def check_whole(name: str, value: int, minimum: int) -> None:
    """Raise a one-line ValueError unless `value` is a whole number from `minimum`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} must be a whole number from {minimum}, got {value!r}")


def check_number(
    name: str, value: float, minimum: float = 0.0, maximum: float = math.inf, above: bool = False
) -> None:
    """Raise a one-line ValueError unless minimum ≤ value ≤ maximum, or minimum < value if `above`.

    Infinity is never a setting.
    """
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not minimum <= value <= maximum or (above and value == minimum):
        bounds = f"{'above' if above else 'from'} {minimum:g}"
        bounds += f" to {maximum:g}" if math.isfinite(maximum) else ""
        raise ValueError(f"{name} must be a number {bounds}, got {value!r}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a one-line ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def check_flag(name: str, value: bool) -> None:
    """Raise a one-line ValueError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def check_sizes(num_train: int, num_held_out: int, num_steps: int, step_seconds: float) -> None:
    """Raise a one-line ValueError unless the sizes describe sequences that can be predicted."""
    check_whole("num_train", num_train, 1)
    check_whole("num_held_out", num_held_out, 1)
    check_whole("num_steps", num_steps, 2)
    check_number("step_seconds", step_seconds, above=True)


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
