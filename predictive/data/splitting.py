"""Which time is trained on and which is held out: interleaved blocks, or one stretch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from predictive.data.sequences import Segment

Position = Literal["start", "middle", "end"]

# A sequence of one bin has nothing to predict.
_FEWEST_BINS = 2


def split_blocks(
    segments: Sequence[Segment],
    block_seconds: float,
    folds: int,
    fold: int,
    step_seconds: float,
) -> tuple[list[Segment], list[Segment]]:
    """Divide time into blocks and hold out the blocks of one fold.

    Bin i of a segment is in block b = ⌊(start + (i + ½) · step − origin) / block⌋, with the origin
    at the earliest start of all segments. Block b is held out when b mod folds = fold. Segments
    are cut at the end of every block, so that the pieces are the same for every fold; a bin that
    a block's end runs through goes where its centre is. Pieces below 2 bins are dropped.

    Args:
        segments: stretches of time without a gap, on one clock.
        block_seconds: duration of a block, at least 2 bins.
        folds: number of folds, at least 2.
        fold: which is held out, from 0 to folds − 1.
        step_seconds: duration of a bin.

    Returns:
        What is trained on and what is held out, in the order of the segments.

    Raises:
        ValueError: a setting out of its range, or a part that nothing is left in.
    """
    _check_segments(segments, step_seconds)
    if int(folds) != folds or folds < 2:
        raise ValueError(f"folds must be a whole number from 2, got {folds}")
    if int(fold) != fold or not 0 <= fold < folds:
        raise ValueError(f"fold must be a whole number from 0 to {folds - 1}, got {fold}")
    if not block_seconds >= _FEWEST_BINS * step_seconds:
        raise ValueError(
            f"block_seconds must be at least {_FEWEST_BINS} bins of {step_seconds:g} s, "
            f"got {block_seconds:g} s"
        )
    origin = min(s.start_seconds for s in segments)
    parts: tuple[list[Segment], list[Segment]] = ([], [])
    for segment in segments:
        centres = np.arange(len(segment.inputs)) + 0.5
        elapsed = segment.start_seconds - origin + centres * step_seconds
        block = np.floor(elapsed / block_seconds).astype(np.int64)
        cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(block)]
        for first, last in pairwise(cuts):
            if last - first >= _FEWEST_BINS:
                held_out = int(block[first] % folds == fold)
                parts[held_out].append(cut(segment, first, last, step_seconds))
    _check_parts(*parts, f"blocks of {block_seconds:g} s: lower block_seconds or change fold")
    return parts


def split_contiguous(
    segments: Sequence[Segment],
    held_out_share: float,
    position: Position,
    step_seconds: float,
) -> tuple[list[Segment], list[Segment]]:
    """Hold out one stretch of time.

    The bins of all segments are laid end to end in the order of their times; of these n bins
    round(held_out_share · n) are held out, at the start, in the middle or at the end. A segment
    that an end of the stretch runs through is cut there. Pieces below 2 bins are dropped.

    Segments do not tell their sessions: of several sessions, split each with a call of its own.

    Args:
        segments: stretches of time without a gap, of one session.
        held_out_share: share of the bins that is held out, between 0 and 1.
        position: where the held-out stretch lies, "start", "middle" or "end".
        step_seconds: duration of a bin.

    Returns:
        What is trained on and what is held out, in the order of their times.

    Raises:
        ValueError: a setting out of its range, or a part that nothing is left in.
    """
    _check_segments(segments, step_seconds)
    if not 0.0 < held_out_share < 1.0:
        raise ValueError(f"held_out_share must be between 0 and 1, got {held_out_share}")
    if position not in ("start", "middle", "end"):
        raise ValueError(f'position must be "start", "middle" or "end", got {position!r}')
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
    _check_parts(*parts, f"a held-out share of {held_out_share:g}: change held_out_share")
    return parts


def cut(segment: Segment, first: int, last: int, step_seconds: float) -> Segment:
    """Return bins first to last − 1 of a segment."""
    return Segment(
        segment.inputs[first:last],
        {name: values[first:last] for name, values in segment.targets.items()},
        segment.start_seconds + first * step_seconds,
    )


def _check_segments(segments: Sequence[Segment], step_seconds: float) -> None:
    if not segments:
        raise ValueError("no segments to split: at least one is needed")
    if not step_seconds > 0:
        raise ValueError(f"step_seconds must be positive, got {step_seconds}")


def _check_parts(train: list[Segment], held_out: list[Segment], how: str) -> None:
    for name, part in (("train on", train), ("hold out", held_out)):
        if not part:
            raise ValueError(f"nothing is left to {name} with {how}")
