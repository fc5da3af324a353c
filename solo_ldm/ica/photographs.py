"""Mixed photographs."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from sklearn.datasets import load_sample_images

from solo_ldm.config.arguments import Bounds, checked
from solo_ldm.ica.problems import NumSources, Problem, random_mixing

# Weights of red, green and blue in grey (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])

# Random positions tried before pieces are said not to fit.
_TRIES = 2000


@checked
def photographs(
    num_sources: NumSources = 4,
    size: Annotated[int, Bounds(8, 427)] = 128,
    statistics: Literal["differences", "pixels"] = "differences",
    seed: int = 0,
) -> Problem:
    """Mix square pieces of scikit-learn's two photographs, in grey.

    The pixels of two pieces are not independent: skies, for example, all get brighter upwards. The
    differences of neighbouring pixels nearly are, and follow a generalised Gaussian with heavy
    tails. Differencing commutes with mixing, so W is learned from the differences and applied to
    the images.

    Args:
        num_sources: N pieces, taken from both photographs in turn, without overlap.
        size: of a side, in pixels; the photographs have 427 × 640.
        statistics: "differences" of horizontal and vertical neighbours, or "pixels" themselves.
        seed: of the pieces and the mixing.

    Raises:
        ValueError: a setting out of its range, or more pieces than fit.

    Source:
        Mixed photographs: Mikulasch & Zenke, arXiv 2605.03517; differences: Hyvärinen, Independent
        component analysis for time-dependent stochastic processes, ICANN 1998; their density:
        Mallat, IEEE PAMI 11, 674 (1989).
    """
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
    corners: list[list[tuple[int, int]]] = [[] for _ in photographs]
    pieces: list[np.ndarray] = []
    for _ in range(_TRIES):
        which = len(pieces) % len(photographs)
        photograph, taken = photographs[which], corners[which]
        top, left = (int(generator.integers(side - size + 1)) for side in photograph.shape)
        if all(abs(top - y) >= size or abs(left - x) >= size for y, x in taken):
            taken.append((top, left))
            pieces.append(photograph[top : top + size, left : left + size])
        if len(pieces) == number:
            return pieces
    raise ValueError(
        f"size: expected pieces that fit into {len(photographs)} photographs, got {number} of "
        f"{size} × {size} pixels, which do not; make size or num_sources smaller"
    )


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).T


def _differences(images: np.ndarray) -> np.ndarray:
    parts = [np.diff(images, axis=axis).reshape(len(images), -1) for axis in (2, 1)]
    return np.concatenate(parts, axis=1).T
