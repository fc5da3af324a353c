"""Mixed photographs."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_sample_images

from solo_ldm.ica.problems import Problem, check_num_sources, random_mixing

# Weights of red, green and blue in grey (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])

# Places tried for pieces before they are said not to fit.
_TRIES = 2000


def photographs(
    num_sources: int = 4, size: int = 128, statistics: str = "differences", seed: int = 0
) -> Problem:
    """Mix square pieces of scikit-learn's two photographs, in grey.

    Pieces of photographs are not independent by their pixels: two skies both get brighter upwards.
    The differences of neighbouring pixels are nearly so, and are close to generalised Gaussian with
    heavy tails. Taking them commutes with mixing, so W is learned from them and applied to the
    images.

    Args:
        num_sources: N pieces, of both photographs in turn, that do not overlap.
        size: of a side, in pixels.
        statistics: "differences" of horizontal and vertical neighbours, or "pixels" themselves.
        seed: of the pieces and the mixing.

    Raises:
        ValueError: a setting out of its range, or more pieces than fit.

    Source:
        Mixed photographs: Mikulasch & Zenke, arXiv 2605.03517; differences: Hyvärinen, Independent
        component analysis for time-dependent stochastic processes, ICANN 1998; their density:
        Mallat, IEEE PAMI 11, 674 (1989).
    """
    check_num_sources(num_sources)
    if statistics not in ("differences", "pixels"):
        raise ValueError(f"statistics: expected differences or pixels, got {statistics!r}")
    generator = np.random.default_rng([seed, 0])
    images = np.stack(_pieces(num_sources, size, generator))
    images = images - images.mean(axis=(1, 2), keepdims=True)
    images /= images.std(axis=(1, 2), keepdims=True)
    matrix = random_mixing(num_sources, seed)
    mixed = np.einsum("ij,jhw->ihw", matrix, images)
    view = _differences if statistics == "differences" else _pixels
    sources = view(images)
    spread = sources.std(axis=0)
    return Problem(
        mixtures=view(mixed),
        description=f"{num_sources} pieces of photographs, {size} × {size} pixels, "
        f"learned from {statistics}",
        sources=sources / spread,
        mixing=matrix * spread,
        images=images,
        mixed_images=mixed,
        statistics=statistics,
    )


def _pieces(number: int, size: int, generator: np.random.Generator) -> list[np.ndarray]:
    photographs = [np.asarray(one, float) @ _LUMA / 255 for one in load_sample_images().images]
    smallest = min(min(one.shape) for one in photographs)
    if not 8 <= size <= smallest:
        raise ValueError(f"size: expected 8 to {smallest} pixels, got {size}")
    corners: list[list[tuple[int, int]]] = [[] for _ in photographs]
    pieces = []
    for _ in range(_TRIES):
        which = len(pieces) % len(photographs)
        height, width = photographs[which].shape
        top = int(generator.integers(height - size + 1))
        left = int(generator.integers(width - size + 1))
        taken = corners[which]
        if all(abs(top - y) >= size or abs(left - x) >= size for y, x in taken):
            piece = photographs[which][top : top + size, left : left + size]
            taken.append((top, left))
            pieces.append(piece)
        if len(pieces) == number:
            return pieces
    raise ValueError(
        f"size: {number} pieces of {size} × {size} pixels do not fit into {len(photographs)} "
        "photographs side by side: make size or num_sources smaller"
    )


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).T


def _differences(images: np.ndarray) -> np.ndarray:
    parts = [np.diff(images, axis=axis).reshape(len(images), -1) for axis in (2, 1)]
    return np.concatenate(parts, axis=1).T
