"""Latents that are hard on arithmetic, and a watch on the memory of operations."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

HALF_AND_SINGLE = (torch.float32, torch.float16, torch.bfloat16)
DEGENERATE = (
    "zero",
    "collapsed",
    "duplicated",
    "near-duplicates",
    "huge",
    "tiny",
    "one-direction",
    "far",
)


def degenerate(kind: str, dtype: torch.dtype, huge: float) -> torch.Tensor:
    base = torch.randn(32, 48)
    made = {
        "zero": torch.zeros(32, 48),
        "collapsed": base[:1].expand(32, -1),
        "duplicated": base[:16].repeat(2, 1),
        "near-duplicates": base[:1] + 1e-4 * base,
        "huge": base * (1e4 if dtype == torch.float16 else huge),
        "tiny": base * (1e-6 if dtype == torch.float16 else 1e-30),
        "one-direction": base[:, :1] * base[:1],
        "far": base + 1e3,
    }
    return made[kind].to(dtype).clone()


class LargestTensor(TorchDispatchMode):
    """Remember the size of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(made, torch.Tensor):
                self.elements = max(self.elements, made.numel())
        return out
