"""The numbers of views, drawn in whole numbers of Python."""

from __future__ import annotations

WORD = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def finalise(bits: int) -> int:
    """Return SplitMix64's output for a counter."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & WORD
    return bits ^ (bits >> 31)


def numbers(sample: int, count: int = 100, seed: int = 3, epoch: int = 5, view: int = 1):
    """Return what is drawn for a sample, uniform in [0, 1)."""
    key = 0
    for part in (seed, epoch, view):
        key = finalise((key + part + GOLDEN) & WORD)
    state = finalise(((sample * GOLDEN) & WORD) ^ key)
    bits = (finalise((state + step * GOLDEN) & WORD) for step in range(1, count + 1))
    return [(one >> 11) / 2**53 for one in bits]
