"""Images and texts in one space: zero-shot classification, and retrieval in both directions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from solo_ldm.config.arguments import Bounds, checked
from solo_ldm.evaluation.features import check_finite, check_vectors
from solo_ldm.evaluation.metrics import wilson_interval

# Similarities that are held at a time.
_MOST = 1 << 24


def similarities(z: Tensor, others: Tensor, on_plane: bool = False) -> Tensor:
    """Return how alike latents are: their cosine, on the plane minus their mean squared distance.

    Args:
        z: (M, D).
        others: (N, D).
        on_plane: whether lengths count.

    Returns:
        (M, N), in float64.
    """
    z, others = z.double(), others.double()
    if on_plane:
        return -torch.cdist(z, others).square() / z.shape[1]
    return normalize(z, dim=1) @ normalize(others, dim=1).T


def zero_shot(
    images: Tensor, prompts: Tensor, precision: float = 1.0, on_plane: bool = False
) -> Tensor:
    """Classify images by the texts of the classes, without a training on their labels.

    With w_c the mean of the latents of a class's prompts, each of unit length unless on the plane,

        p(c | z) = exp(κ s(z, w_c)) / Σ_c' exp(κ s(z, w_c'))

    Args:
        images: latents (M, D).
        prompts: latents (C, P, D), of P prompts for each of C classes.
        precision: κ, of the latent model.
        on_plane: s is minus the mean squared distance, else the cosine.

    Returns:
        (M, C), rows sum to one.

    Raises:
        ValueError: in one line, for latents that are not finite or of other shapes.

    Source:
        Radford et al., CLIP, arXiv 2103.00020, section 3.1.4 (ensembles of prompts in latent
        space).
    """
    check_vectors("images", images)
    check_finite("images", images)
    if prompts.ndim != 3 or prompts.shape[2] != images.shape[1] or not prompts.isfinite().all():
        raise ValueError(
            f"prompts: expected finite latents (classes, prompts, {images.shape[1]}), got "
            f"{tuple(prompts.shape)}"
        )
    prompts = prompts.double() if on_plane else normalize(prompts.double(), dim=2)
    return (precision * similarities(images, prompts.mean(dim=1), on_plane)).softmax(dim=1)


@checked
def retrieval(
    images: Tensor,
    texts: Tensor,
    pairs: Tensor,
    at: Sequence[Annotated[int, Bounds(1)]] = (1, 5, 10),
    on_plane: bool = False,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Measure how often what belongs to an image is among the nearest texts, and back.

    Recall at k of a query is 1 if any of its partners is among the k nearest; one that is as near
    as a partner counts as nearer, so that latents that are all the same recall nothing. Chance is
    the mean over queries of 1 − C(N − r, k) / C(N, k), of r partners among N.

    Args:
        images: latents (M, D).
        texts: latents (N, D), of texts that differ.
        pairs: (K, 2) indexes of an image and of a text that belong together; each image and each
            text has one pair or more.
        at: values of k.
        on_plane: as of `similarities`.

    Returns:
        By direction ("image_to_text", "text_to_image") and "recall@k": value (0 to 1), interval
        (95 %, Wilson), chance and the number of queries.

    Raises:
        ValueError: in one line, for latents that are not finite, or of other shapes.
    """
    for name, latents in (("images", images), ("texts", texts)):
        check_vectors(name, latents)
        check_finite(name, latents)
    both = ((images, texts, pairs), (texts, images, pairs.flip(1)))
    names = ("image_to_text", "text_to_image")
    return {name: _recalls(*sides, at, on_plane) for name, sides in zip(names, both, strict=True)}


def _recalls(
    queries: Tensor, items: Tensor, pairs: Tensor, at: Sequence[int], on_plane: bool
) -> dict[str, dict[str, Any]]:
    ranks = _ranks(queries, items, pairs, on_plane)
    partners = torch.bincount(pairs[:, 0], minlength=len(queries)).tolist()
    count, found = len(items), {}
    for k in at:
        hits = int((ranks < k).sum())
        chances = (1.0 - math.comb(count - r, k) / math.comb(count, k) for r in partners)
        found[f"recall@{k}"] = {
            "value": hits / len(queries),
            "interval": list(wilson_interval(hits, len(queries))),
            "chance": 1.0 if k >= count else math.fsum(chances) / len(queries),
            "num_queries": len(queries),
        }
    return found


def _ranks(queries: Tensor, items: Tensor, pairs: Tensor, on_plane: bool) -> Tensor:
    """Return how many items that are no partner are at least as near as the nearest partner."""
    ranks, rows = [], max(1, _MOST // len(items))
    pairs = pairs[pairs[:, 0].argsort()]
    for start in range(0, len(queries), rows):
        part = similarities(queries[start : start + rows], items, on_plane)
        inside = (pairs[:, 0] >= start) & (pairs[:, 0] < start + len(part))
        row, column = pairs[inside, 0] - start, pairs[inside, 1]
        own = torch.zeros_like(part, dtype=torch.bool)
        own[row, column] = True
        best = part.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
        ranks.append(((part >= best) & ~own).sum(dim=1))
    return torch.cat(ranks)
