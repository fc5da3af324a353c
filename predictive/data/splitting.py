"""Splits of time into training and held-out parts: interleaved blocks, or one stretch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from predictive.data.sequences import Segment
from solo_ldm.config.arguments import Bounds, Positive, checked

Position = Literal["start", "middle", "end"]
# What becomes of bins in which the animal pauses: sequences end there, or they are inputs too.
Pauses = Literal["cut", "keep"]

# A sequence of one bin has nothing to predict.
_FEWEST_BINS = 2
# Sequences of which a smaller share is bins, the rest padding, are cut.
_FEWEST_FILLED = 0.1


@checked
def split_blocks(
    segments: Sequence[Segment],
    block_seconds: float,
    folds: Annotated[int, Bounds(2)],
    fold: int,
    step_seconds: Positive,
) -> tuple[list[Segment], list[Segment]]:
    """Divide time into blocks and hold out the blocks of one fold.

    Bin i of a segment is in block b = ⌊(start + (i + ½) · step − origin) / block⌋, with the origin
    at the earliest start of all segments. Block b is held out when b mod folds = fold. Segments
    are cut at the end of every block, so that the pieces are the same for every fold; a bin belongs
    to the block of its centre. Pieces below 2 bins are dropped.

    Args:
        segments: stretches of time without a gap, on one clock.
        block_seconds: duration of a block, at least 2 bins.
        folds: number of folds, at least 2.
        fold: which is held out, from 0 to folds − 1.
        step_seconds: duration of a bin.

    Returns:
        Training and held-out pieces, in the order of the segments.

    Raises:
        ValueError: a setting out of its range, or nothing left to train on or to hold out.
    """
    _check_segments(segments)
    if not 0 <= fold < folds:
        raise ValueError(f"data.fold: expected a whole number from 0 to {folds - 1}, got {fold}")
    if not block_seconds >= _FEWEST_BINS * step_seconds:
        raise ValueError(
            f"data.block_seconds: expected at least {_FEWEST_BINS} bins of {step_seconds:g} s, "
            f"got {block_seconds:g} s"
        )
    origin = min(s.start_seconds for s in segments)
    parts: tuple[list[Segment], list[Segment]] = ([], [])
    for segment in segments:
        centres = np.arange(len(segment.inputs)) + 0.5
        elapsed = segment.start_seconds - origin + centres * step_seconds
        block = (elapsed / block_seconds).astype(np.int64)
        cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(block)]
        for first, last in pairwise(cuts):
            if last - first >= _FEWEST_BINS:
                held_out = int(block[first] % folds == fold)
                parts[held_out].append(cut(segment, first, last, step_seconds))
    settings = f"data.block_seconds={block_seconds:g}, data.fold={fold}"
    _check_parts(parts, settings, segments, step_seconds, "lower data.block_seconds or data.folds")
    return parts


@checked
def split_contiguous(
    segments: Sequence[Segment],
    held_out_share: Annotated[float, Bounds(above=0, below=1)],
    position: Position,
    step_seconds: Positive,
) -> tuple[list[Segment], list[Segment]]:
    """Hold out one stretch of time.

    Of the n bins of all segments in the order of time, round(held_out_share · n) are held out, at
    the start, in the middle or at the end. A segment that crosses an end of the held-out stretch is
    cut there. Pieces below 2 bins are dropped.

    Segments do not name their session: split each session in a call of its own.

    Args:
        segments: stretches of time without a gap, of one session.
        held_out_share: share of the bins that is held out, between 0 and 1.
        position: where the held-out stretch lies, "start", "middle" or "end".
        step_seconds: duration of a bin.

    Returns:
        Training and held-out pieces, in the order of their times.

    Raises:
        ValueError: a setting out of its range, or nothing left to train on or to hold out.
    """
    _check_segments(segments)
    ordered = sorted(segments, key=lambda s: s.start_seconds)
    total = sum(len(s.inputs) for s in ordered)
    held = round(held_out_share * total)
    begin = {"start": 0, "middle": (total - held) // 2, "end": total - held}[position]
    parts: tuple[list[Segment], list[Segment]] = ([], [])
    offset = 0
    for segment in ordered:
        length = len(segment.inputs)
        edges = [min(max(edge - offset, 0), length) for edge in (begin, begin + held)]
        pieces = zip([0, *edges], [*edges, length], (0, 1, 0), strict=True)
        for first, last, held_out in pieces:
            if last - first >= _FEWEST_BINS:
                parts[held_out].append(cut(segment, first, last, step_seconds))
        offset += length
    settings = f"data.held_out_share={held_out_share:g}"
    _check_parts(parts, settings, segments, step_seconds, "change it")
    return parts


def evened(
    segments: Sequence[Segment], shortest_seconds: float, step_seconds: float
) -> list[Segment]:
    """Cut the longest segments into pieces where nine tenths of all padding would be theirs.

    Sequences are padded to the longest, so that one of an hour among many of seconds would take
    their memory a thousand times. Lengths are halved until half of what is stored are bins, or a
    piece is as short as `shortest_seconds`; segments of like lengths stay as they are.
    """
    lengths = np.array([len(s.inputs) for s in segments])
    if not len(lengths) or lengths.mean() >= _FEWEST_FILLED * lengths.max():
        return list(segments)
    limit = int(lengths.max())
    least = max(_FEWEST_BINS, round(shortest_seconds / step_seconds))
    while lengths.sum() < 0.5 * limit * np.ceil(lengths / limit).sum() and limit // 2 >= least:
        limit //= 2
    pieces = []
    for segment in segments:
        length = len(segment.inputs)
        edges = np.linspace(0, length, -(-length // limit) + 1).astype(int).tolist()
        pieces += [cut(segment, first, last, step_seconds) for first, last in pairwise(edges)]
    return pieces


def cut(segment: Segment, first: int, last: int, step_seconds: float) -> Segment:
    """Return bins first to last − 1 of a segment."""
    return Segment(
        segment.inputs[first:last],
        {name: values[first:last] for name, values in segment.targets.items()},
        segment.start_seconds + first * step_seconds,
    )


def stretches(keep: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the start and the end (exclusive) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], keep, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _check_segments(segments: Sequence[Segment]) -> None:
    if not segments:
        raise ValueError("segments: expected at least one to split, got none")


def _check_parts(
    parts: tuple[list[Segment], list[Segment]],
    settings: str,
    segments: Sequence[Segment],
    step_seconds: float,
    how: str,
) -> None:
    seconds = sum(len(s.inputs) for s in segments) * step_seconds
    for name, part in zip(("train on", "hold out"), parts, strict=True):
        if not part:
            raise ValueError(
                f"{settings}: expected sequences to {name}, got none in the {seconds:.3g} s that "
                f"are used; {how}"
            )
