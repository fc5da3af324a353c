"""Series of numbers that several tests of decoding draw, and how close two of them are."""

import torch

from predictive.decoding.bins import sums_of_squares


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def autoregressive(bins, dim, memory=0.95):
    values, noise = [normal(dim)], (1.0 - memory**2) ** 0.5
    for _ in range(bins - 1):
        values.append(memory * values[-1] + noise * normal(dim))
    return torch.stack(values)


def close(actual, expected, atol=1e-9):
    # Not torch.testing: its first use imports sympy, for seconds.
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert float((actual - expected).abs().max()) <= atol


def angles(position):
    """Polar angles of positions on the plane."""
    return torch.atan2(position[..., 1].double(), position[..., 0].double())


def r2(targets, predictions):
    """R², pooled over target dimensions."""
    squares, total = sums_of_squares(targets, predictions)
    return float(1.0 - squares.sum() / total.sum())
