"""Spikes of simulated place cells while an animal runs up and down a linear track."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from predictive.data.sequences import Segment, TimeSeriesData, pad
from predictive.data.simulated.ornstein_uhlenbeck import ornstein_uhlenbeck_process
from predictive.data.simulated.simulation import Seed, random_streams
from predictive.data.splitting import Pauses, cut, split_blocks, stretches
from solo_ldm.config.arguments import Bounds, Count, NonNegative, Positive, Share, checked
from solo_ldm.config.memory import check_memory

# Spread of the logarithm of a cell's field width and peak rate.
_LOG_WIDTH_SPREAD = 0.3
_LOG_PEAK_SPREAD = 0.5
# Speed varies within a lap and over several: (time constant in seconds, variance of its log).
_SPEED_VARIATION = ((1.0, 0.04), (20.0, 0.04))
# Stretches shorter than this hold too little to predict.
_SHORTEST_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class PlaceFields:
    """Tuning of cells to position, when the animal runs up (column 0) and down (column 1).

    rate_i(x, d) = background + peak_id · exp(−(x − centre_id)² / (2 width_id²))

    Args:
        centres: metres, (num_cells, 2).
        widths: standard deviation of a field, metres, (num_cells, 2).
        peaks: rate above background at the centre, Hz, (num_cells, 2).
        background: Hz.
    """

    centres: Tensor
    widths: Tensor
    peaks: Tensor
    background: float

    def rates(self, position: Tensor, velocity: Tensor) -> Tensor:
        """Return rates in Hz, (T, num_cells), at positions and velocities (T,).

        Where the velocity is zero cells fire at the background rate.
        """
        way = (velocity < 0).long()
        apart = (position - self.centres[:, way]) / self.widths[:, way]
        field = self.peaks[:, way] * torch.exp(-apart.square() / 2)
        return (self.background + field * (velocity != 0)).T


def place_fields(
    num_cells: int,
    track_metres: float,
    field_width_metres: float,
    peak_rate_hz: float,
    background_hz: float,
    directional: float,
    generator: torch.Generator,
) -> PlaceFields:
    """Draw place fields.

    Centres are uniform on the track, widths and peaks log-normal around their medians with
    log-spreads of 0.3 and 0.5. The first round(directional · num_cells) cells have another field
    in each direction, the rest the same in both.

    Args:
        num_cells: as in `place_cells`, like the arguments up to directional.
        generator: source of randomness.
    """

    def normal() -> Tensor:
        return torch.randn((num_cells, 2), generator=generator)

    centres = track_metres * torch.rand((num_cells, 2), generator=generator)
    widths = field_width_metres * torch.exp(_LOG_WIDTH_SPREAD * normal())
    peaks = peak_rate_hz * torch.exp(_LOG_PEAK_SPREAD * normal())
    same = round(directional * num_cells)
    for values in (centres, widths, peaks):
        values[same:, 1] = values[same:, 0]
    return PlaceFields(centres, widths, peaks, background_hz)


@checked
def place_cells(
    *,
    num_cells: Count = 60,
    track_metres: Positive = 1.6,
    field_width_metres: Positive = 0.15,
    peak_rate_hz: NonNegative = 12.0,
    background_hz: NonNegative = 0.5,
    directional: Share = 0.6,
    theta_hz: NonNegative = 8.0,
    theta_depth: Share = 0.3,
    running_speed: Positive = 0.4,
    pause_seconds: NonNegative = 2.0,
    duration_seconds: Positive = 1200.0,
    bin_seconds: Positive = 0.025,
    running_only: bool = True,
    pauses: Pauses = "cut",
    min_speed: NonNegative = 0.05,
    block_seconds: Positive = 20.0,
    folds: Annotated[int, Bounds(2)] = 5,
    fold: Annotated[int, Bounds(0)] = 0,
    seed: Seed = 0,
) -> TimeSeriesData:
    """Simulate spike counts of place cells on a linear track.

    An animal runs from one end to the other and back, with a log-normal speed that varies within
    1 s and over 20 s, and pauses at the ends, at least half of pause_seconds. Cell i spikes
    n_t ~ Poisson(rate_i(x_t, d_t) · (1 + theta_depth · cos(2π theta_hz t)) · Δt) while the animal
    runs, with `PlaceFields`, and Poisson(background_hz · Δt) while it pauses.

    Time is divided into blocks; block b is held out when b mod folds = fold. A sequence lies in
    one block, and with running_only and pauses cut in one run; pieces shorter than 1 s are dropped.

    Targets are position (1), metres, direction (1), 1 upward, −1 downward, NaN while the animal
    pauses, and speed (1), metres a second. In pauses that are kept all but the speed are NaN.

    Args:
        num_cells: number of cells.
        track_metres: length of the track.
        field_width_metres: median standard deviation of a place field.
        peak_rate_hz: median rate above background at the centre of a field.
        background_hz: rate outside the fields.
        directional: share of cells whose field differs between directions, from 0 to 1.
        theta_hz: frequency of the rhythm that modulates all cells alike.
        theta_depth: depth of that rhythm, from 0 (none) to 1.
        running_speed: mean, metres a second.
        pause_seconds: mean duration of a pause; 0 for none.
        duration_seconds: of the session.
        bin_seconds: Δt.
        running_only: decode the bins alone in which the animal is faster than min_speed.
        pauses: what becomes of the others then: "cut", sequences end there, or "keep", they are
            inputs as well and their targets count as unknown.
        min_speed: metres a second.
        block_seconds: duration of a block.
        folds: number of folds, at least 2.
        fold: which is held out, from 0.
        seed: the same seed gives the same data.

    Returns:
        Spike counts with num_cells features, float32.

    Raises:
        ValueError: a setting out of its range, or nothing left to train on or to hold out.
    """
    num_bins = round(duration_seconds / bin_seconds)
    if num_bins < 2:
        raise ValueError(
            f"data.duration_seconds: expected at least 2 bins of {bin_seconds:g} s, got "
            f"{duration_seconds}"
        )
    check_memory("data.num_cells", num_bins, num_cells, remedy="lower it or data.duration_seconds")
    laps = running_speed * duration_seconds / track_metres
    remedy = "lower it or raise data.track_metres"
    check_memory("data.running_speed", laps, remedy=remedy, bytes_each=8)
    cells, animal, spikes = random_streams(seed, 3)
    fields = place_fields(
        num_cells,
        track_metres,
        field_width_metres,
        peak_rate_hz,
        background_hz,
        directional,
        cells,
    )
    position, velocity = _run(
        num_bins, bin_seconds, track_metres, running_speed, pause_seconds, animal
    )
    seconds = (torch.arange(num_bins, dtype=torch.float64) + 0.5) * bin_seconds
    theta = 1 + theta_depth * torch.cos(2 * math.pi * theta_hz * seconds) * (velocity != 0)
    position, velocity, theta = (x.to(torch.float32) for x in (position, velocity, theta))
    expected = fields.rates(position, velocity) * theta[:, None] * bin_seconds
    direction = torch.where(velocity == 0, math.nan, velocity.sign())
    targets = {"position": position, "direction": direction, "speed": velocity.abs()}
    session = Segment(
        torch.poisson(expected, generator=spikes),
        {name: values[:, None] for name, values in targets.items()},
    )
    segments: Sequence[Segment] = [session]
    if running_only:
        fast = velocity.abs() > min_speed
        runs = stretches(fast.numpy())
        if pauses == "cut":
            segments = [cut(session, first, last, bin_seconds) for first, last in runs]
        else:
            for name in ("position", "direction"):
                session.targets[name][~fast] = math.nan
        if not runs:
            raise ValueError(
                "data.min_speed: expected less than the animal's fastest speed, got "
                f"{min_speed:g} m/s; lower it below data.running_speed={running_speed:g}"
            )
    parts = [
        [s for s in part if len(s.inputs) * bin_seconds >= _SHORTEST_SECONDS]
        for part in split_blocks(segments, block_seconds, folds, fold, bin_seconds)
    ]
    for name, part in zip(("train on", "hold out"), parts, strict=True):
        if not part:
            raise ValueError(
                f"data.duration_seconds: expected a run of {_SHORTEST_SECONDS:g} s to {name}, got "
                f"none in {duration_seconds:g} s; raise it or data.block_seconds, or lower "
                "data.min_speed"
            )
    train, held_out = (pad(part, bin_seconds) for part in parts)
    return TimeSeriesData(
        train=train,
        held_out=held_out,
        kind="spikes",
        units={"position": "m", "direction": "", "speed": "m/s"},
        description=(
            f"{num_cells} simulated place cells, {duration_seconds:g} s on a track of "
            f"{track_metres:g} m, bins of {1000 * bin_seconds:g} ms, fold {fold} of {folds}"
        ),
    )


def _run(
    num_bins: int,
    bin_seconds: float,
    track_metres: float,
    running_speed: float,
    pause_seconds: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    # First the path without pauses, …
    constants, variances = zip(*_SPEED_VARIATION, strict=True)
    log_speed = ornstein_uhlenbeck_process(
        1, num_bins, bin_seconds, constants, variances, generator
    )
    speed = running_speed * torch.exp(log_speed[0].sum(dim=1) - sum(variances) / 2)
    way = (speed.cumsum(dim=0) - speed / 2) * bin_seconds
    lap = (way / track_metres).floor().long()
    # … then the pause before each lap but the first delays all later bins.
    pauses = torch.empty(int(lap[-1]), dtype=torch.float64).exponential_(1.0, generator=generator)
    pause_bins = ((0.5 + 0.5 * pauses) * pause_seconds / bin_seconds).round().long()
    delay = torch.nn.functional.pad(pause_bins.cumsum(dim=0), (1, 0))[lap]
    when = torch.arange(num_bins) + delay
    # Each bin takes the last running bin up to it; in a pause that is the end of the track.
    bins = torch.arange(num_bins)
    last = torch.searchsorted(when, bins, right=True) - 1
    runs = when[last] == bins
    upward = lap[last] % 2 == 0
    along = torch.where(runs, way[last] - lap[last] * track_metres, track_metres)
    position = torch.where(upward, along, track_metres - along)
    velocity = torch.where(runs, torch.where(upward, speed[last], -speed[last]), 0.0)
    return position, velocity
