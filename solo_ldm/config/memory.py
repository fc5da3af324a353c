"""What does not fit the machine's memory is refused before the system ends the process."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import pairwise


def check_memory(key: str, *sizes: float, remedy: str, bytes_each: int = 4) -> None:
    """Raise a one-line ValueError unless an array of these sizes fits the machine's memory.

    Args:
        key: of the configuration, for messages.
        *sizes: whose product is the count of numbers.
        remedy: what to change.
        bytes_each: of a number.
    """
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = math.prod(sizes) * bytes_each
    if needed > memory:
        raise ValueError(
            f"{key}: expected what fits this machine's memory of {memory / 2**30:.3g} GiB, got "
            f"{needed / 2**30:.3g} GiB; {remedy}"
        )


def check_layers(units: Sequence[int]) -> None:
    """Raise a one-line ValueError unless linear layers fit the memory, with what trains them.

    Args:
        units: of the inputs and of each layer.
    """
    weights = sum(before * after for before, after in pairwise(units))
    named = f"linear layers of {', '.join(map(str, units[:5]))}{', …' if units[5:] else ''} units"
    # Weights, gradients and two moments of an optimiser.
    check_memory(named, weights, remedy="lower their dimensions (…_dim)", bytes_each=16)
