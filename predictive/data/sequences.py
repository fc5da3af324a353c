"""The form of a data set: sequences of time bins, padded to one length, and windows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor

from predictive.data.targets import TargetKind
from solo_ldm.config.arguments import Bounds, Count, checked

InputKind = Literal["frames", "spikes", "signals"]


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive time bins without a gap.

    Args:
        inputs: observations, (T, F), float32; or pixels, uint8, see `as_floats`.
        targets: other variables by name, (T, k) each, float32, NaN where unknown.
        start_seconds: time at which the first bin starts.
    """

    inputs: Tensor
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    start_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of time bins, each without a gap, padded at their ends to the longest.

    Args:
        inputs: (N, T, F), float32, or uint8 of pixels; zero where padded.
        lengths: bins that each sequence has, (N,), int64.
        targets: (N, T, k) each, float32; NaN where unknown or padded. Never seen by the loss.
        start_seconds: time at which each sequence starts, (N,), float64.
        step_seconds: duration of a bin.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Mapping[str, Tensor]
    start_seconds: Tensor
    step_seconds: float = 1.0

    def __len__(self) -> int:
        """The number of sequences."""
        return self.inputs.shape[0]

    @property
    def mask(self) -> Tensor:
        """True where there is a bin, false where there is padding, (N, T)."""
        return torch.arange(self.inputs.shape[1]) < self.lengths[:, None]

    @property
    def seconds(self) -> Tensor:
        """Time of the centre of each bin, (N, T), float64."""
        steps = torch.arange(self.inputs.shape[1], dtype=torch.float64) + 0.5
        return self.start_seconds[:, None] + steps * self.step_seconds

    def select(self, index: Tensor | Sequence[int] | slice) -> Sequences:
        """Return some of the sequences, by their numbers, a slice or a mask of booleans."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
        return Sequences(
            self.inputs[index],
            self.lengths[index],
            {name: values[index] for name, values in self.targets.items()},
            self.start_seconds[index],
            self.step_seconds,
        )

    @checked
    def windows(
        self, length: Annotated[int, Bounds(2)] | None, stride: Count | None = None
    ) -> Sequences:
        """Cut the sequences into windows of one length, each within one sequence.

        Where the strides leave bins at the end of a sequence, a last window ends with it. A
        sequence that is shorter than a window is one, padded at its end.

        Args:
            length: bins of a window; None returns the sequences themselves.
            stride: bins between the starts of windows; None takes the length.

        Raises:
            ValueError: no sequence is as long as a window, a length below 2 or a stride below 1.
        """
        if length is None:
            return self
        longest = int(self.lengths.max()) if len(self) else 0
        if longest < length:
            raise ValueError(
                f"data.window: expected at most the {longest} bins of {self.step_seconds:g} s that "
                f"the longest of {len(self)} sequences without a gap has, got {length}"
            )
        stride = length if stride is None else stride
        pairs = [
            (i, start)
            for i, n in enumerate(self.lengths.tolist())
            for start in _starts(n, length, stride)
        ]
        which, first = torch.tensor(pairs, dtype=torch.int64).unbind(dim=1)
        bins = first[:, None] + torch.arange(length)
        return Sequences(
            self.inputs[which[:, None], bins],
            self.lengths[which].clamp_max(length),
            {name: values[which[:, None], bins] for name, values in self.targets.items()},
            self.start_seconds[which] + first * self.step_seconds,
            self.step_seconds,
        )


def _starts(num_bins: int, length: int, stride: int) -> list[int]:
    last = max(0, num_bins - length)
    starts = list(range(0, last + 1, stride))
    return starts if starts[-1] == last else [*starts, last]


def pad(segments: Sequence[Segment], step_seconds: float = 1.0) -> Sequences:
    """Stack segments of any lengths, padded at their ends.

    Args:
        segments: at least one, all with the same features and targets.
        step_seconds: duration of a bin.

    Raises:
        ValueError: no segments, or segments with different features or targets.
    """
    if not segments:
        raise ValueError("segments: expected at least one, got none")
    shapes = {
        (s.inputs.shape[1], *((name, v.shape[1]) for name, v in sorted(s.targets.items())))
        for s in segments
    }
    if len(shapes) > 1:
        raise ValueError(
            f"segments: expected the same features and targets in all, got "
            f"{sorted(shapes, key=str)}; train on sessions with different cells in separate runs"
        )

    def padded(values: Sequence[Tensor], filling: float) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(
            list(values), batch_first=True, padding_value=filling
        )

    return Sequences(
        padded([s.inputs for s in segments], 0.0),
        torch.tensor([len(s.inputs) for s in segments], dtype=torch.int64),
        {
            name: padded([s.targets[name] for s in segments], float("nan"))
            for name in segments[0].targets
        },
        torch.tensor([s.start_seconds for s in segments], dtype=torch.float64),
        step_seconds,
    )


def as_floats(inputs: Tensor) -> Tensor:
    """Return observations as floats: pixels of 8 bits, which are kept as they are, over 255."""
    return inputs.to(torch.float32) / 255 if inputs.dtype == torch.uint8 else inputs


@dataclass(frozen=True, eq=False)
class TimeSeriesData:
    """A data set, split into training and held-out sequences.

    Args:
        train: to train on, without the targets.
        held_out: to evaluate on.
        kind: "frames" (videos, the features are the pixels), "spikes" (counts per bin) or
            "signals".
        frame_shape: channels, rows and columns of a frame, whose pixels are the features in this
            order; None for other kinds.
        units: of each target, for pictures; "" where it has none.
        kinds: of the targets that are not continuous, whose columns are those of their kind.
        features: names of the features, such as cells; () where they have none.
        description: one line for the console and for titles.
    """

    train: Sequences
    held_out: Sequences
    kind: InputKind
    frame_shape: tuple[int, int, int] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, TargetKind] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    description: str = ""
