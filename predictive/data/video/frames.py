"""Frames of real video, read, split and kept as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from predictive.data.sequences import Segment, TimeSeriesData, as_floats, pad
from predictive.data.splitting import Position, evened, split_blocks, split_contiguous
from predictive.data.targets import TargetKind
from predictive.data.video.clips import find_clips, leap_in
from predictive.data.video.reading import Clip, read_clips
from predictive.data.video.targets import read_targets
from solo_ldm.config.arguments import Bounds, Count, Positive, checked
from solo_ldm.config.memory import check_memory

Split = Literal["clips", "blocks", "contiguous"]
# Rates that differ by less are written with other digits.
_SAME_RATE = 1e-3
# Channels that come first are taken for frames: many clips of so few are likely that.
_COLOURS, _MANY = 3, 30


@checked
def frames(
    path: str | Path | Sequence[str | Path],
    frame_rate: Positive | None = None,
    frame_size: Count | None = None,
    frame_columns: Count | None = None,
    gray: bool = False,
    targets_path: str | None = None,
    targets: Mapping[str, Any] | None = None,
    split: Split = "clips",
    folds: Annotated[int, Bounds(2)] = 5,
    fold: Annotated[int, Bounds(0)] = 0,
    block_seconds: Positive = 20.0,
    held_out_share: Annotated[float, Bounds(above=0, below=1)] = 0.2,
    held_out_position: Position = "end",
    seed: int = 0,
) -> TimeSeriesData:
    """Read clips of frames and split them into training and held-out sequences.

    Args:
        path: a folder of images, one clip, or of folders, images of several pages, arrays and
            videos, each a clip; an array
            (.npy, or "frames" of an .npz) (T, H, W), (T, H, W, C), (N, T, H, W) or
            (N, T, H, W, C); an image of several pages; a video, which takes PyAV; a list of these.
        frame_rate: frames a second; None for that of a video, or 1, so that seconds are frames.
        frame_size: rows, and columns, to resize to; None for their own.
        frame_columns: columns, where they are others than the rows.
        gray: whether to make one channel of three.
        targets_path: a CSV of a row for each frame, of all clips in their order; see
            `read_targets`.
        targets: kinds of its targets that are not continuous: radians, degrees, categorical, or
            the period of a circular one.
        split: "clips" holds out clip i where i mod folds = fold; "blocks" (`split_blocks`) and
            "contiguous" (`split_contiguous`) split each clip in time.
        folds: number of folds.
        fold: which is held out.
        block_seconds: duration of a block.
        held_out_share: share of each clip that a contiguous split holds out.
        held_out_position: where a contiguous split holds out.
        seed: unused; every data set has it.

    Returns:
        Pixels (N, T, C · H · W), uint8 where files have 8 bits, float32 otherwise.

    Raises:
        FileNotFoundError: in one line: nothing at a path.
        ValueError: in one line: frames or targets that cannot be used, nothing to hold out.
    """
    clips, step_seconds = read(path, frame_rate, frame_size, frame_columns, gray)
    segments, kinds = with_targets(clips, targets_path, targets)
    train: list[Segment] = []
    held_out: list[Segment] = []
    if split == "clips":
        for number, one in enumerate(segments):
            (held_out if number % folds == fold else train).append(one)
        if not train or not held_out:
            raise ValueError(
                f"data.split: expected clips to train on and to hold out with data.fold={fold} of "
                f"data.folds={folds}, got {len(clips)} in all; set data.split=blocks, which holds "
                "out parts of each"
            )
    for one in segments if split != "clips" else ():
        parts = (
            split_blocks([one], block_seconds, folds, fold, step_seconds)
            if split == "blocks"
            else split_contiguous([one], held_out_share, held_out_position, step_seconds)
        )
        train += parts[0]
        held_out += parts[1]
    _, *shape = clips[0].frames.shape
    count = sum(len(one.frames) for one in clips)
    shown = [evened(part, block_seconds, step_seconds) for part in (train, held_out)]
    swapped = (
        len(clips) >= _MANY
        and shape[0] == 1
        and all(_is_of_array(one) and len(one.frames) == _COLOURS for one in clips)
    )
    doubt = "; clips of 3 gray frames: channels of an array come last" if swapped else ""
    if leaps := [one for one in clips if one.leap]:
        (last, missing), other = leaps[0].leap or ("", 0), len(leaps) - 1
        doubt += (
            f"; {leaps[0].name}: {missing} numbers are missing after {last}, and frames are taken "
            "one after another: put what follows a pause into a folder of its own"
            + (f" ({other} more clips have such pauses)" if other else "")
        )
    name = Path(path).name if isinstance(path, str | Path) else f"{len(path)} paths"
    return TimeSeriesData(
        *(pad(part, step_seconds) for part in shown),
        kind="frames",
        frame_shape=(shape[0], shape[1], shape[2]),
        units=dict.fromkeys(segments[0].targets, ""),
        kinds=kinds,
        description=(
            f"{name}: {len(clips)} clip{'s' if len(clips) > 1 else ''} of {count} frames, "
            f"{shape[1]} × {shape[2]} pixels of {shape[0]} channel{'s' if shape[0] > 1 else ''}; "
            f"{len(shown[0])} sequences to train on, {len(shown[1])} held out{doubt}"
        ),
    )


def read(
    path: str | Path | Sequence[str | Path],
    frame_rate: float | None = None,
    frame_size: int | None = None,
    frame_columns: int | None = None,
    gray: bool = False,
) -> tuple[list[Clip], float]:
    """Return clips of one size, and the seconds of a frame; see `frames`."""
    if frame_columns is not None and frame_size is None:
        raise ValueError("data.frame_size: expected rows beside data.frame_columns, got null")
    size = None if frame_size is None else (frame_size, frame_columns or frame_size)
    clips: list[Clip] = []
    total = 0
    for source in find_clips(path):
        found = read_clips(source, gray, size)
        total += sum(one.frames.numel() for one in found)
        check_memory("data.path", total, remedy="lower data.frame_size", bytes_each=1)
        clips += [one._replace(leap=leap_in(source)) for one in found]
    first = clips[0]
    for one in clips:
        if one.frames.shape[1:] != first.frames.shape[1:]:
            shapes = (tuple(clip.frames.shape[1:]) for clip in (first, one))
            raise ValueError(
                "data.path: expected frames of one size, got channels, rows and columns {} in {} "
                "and {} in {}; set data.frame_size, and data.gray=true for one channel".format(
                    *(part for pair in zip(shapes, (first.name, one.name), strict=True)
                      for part in pair)
                )
            )  # fmt: skip
        if len(one.frames) < 2:
            remedy = "; channels of an array come last" if _is_of_array(one) else ""
            raise ValueError(f"{one.name}: expected a clip of at least 2 frames, got 1{remedy}")
    if len({one.frames.dtype for one in clips}) > 1:
        clips = [one._replace(frames=as_floats(one.frames)) for one in clips]
    rates = {one.rate for one in clips if one.rate is not None}
    if frame_rate is None and rates and max(rates) > min(rates) * (1 + _SAME_RATE):
        raise ValueError(
            f"data.frame_rate: expected videos of one rate, got {min(rates):g} and "
            f"{max(rates):g} frames a second; set it, if they may be taken as one"
        )
    return clips, 1.0 / (frame_rate or next(iter(rates), 1.0))


def _is_of_array(clip: Clip) -> bool:
    """Whether a clip is one of several of an array."""
    return clip.name.endswith("]")


def with_targets(
    clips: Sequence[Clip], targets_path: str | None, targets: Mapping[str, Any] | None
) -> tuple[list[Segment], dict[str, TargetKind]]:
    """Return clips as segments of rows of pixels, each from 0 s, with their targets and kinds."""
    if targets and targets_path is None:
        raise ValueError("data.targets: expected null without data.targets_path, got kinds")
    values, kinds = {}, {}
    if targets_path is not None:
        lengths = {one.name: len(one.frames) for one in clips}
        if len(lengths) < len(clips):
            raise ValueError("data.path: expected clips of different names, got some twice")
        values, kinds = read_targets(targets_path, lengths, targets or {})
    edges = np.cumsum([0, *(len(one.frames) for one in clips)]).tolist()
    segments = [
        Segment(one.frames.flatten(1), {name: value[a:b] for name, value in values.items()})
        for one, (a, b) in zip(clips, pairwise(edges), strict=True)
    ]
    return segments, kinds
