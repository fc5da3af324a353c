"""The clocks of a recording: their units, and whether they are one clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from solo_ldm.config.arguments import Positive

Unit = Literal["s", "ms", "us", "min"] | Positive
TimeUnit = Unit | tuple[Unit, Unit] | None
Range = tuple[float, float]

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}
# Ticks of amplifiers, beside the units with a name.
_TICKS = (1 / 30_000, 1 / 20_000)
# Clocks that share less of the longer one are refused; units that make them share more fit.
_FEWEST_SHARED, _FITTING = 0.1, 0.3


def seconds_of(unit: TimeUnit) -> tuple[float, float]:
    """Return the seconds that a unit of the observations' and of the other times has.

    Args:
        unit: a name, or the seconds of a tick, for all times or for both in turn; None for s.
    """
    both = unit if isinstance(unit, Sequence) and not isinstance(unit, str) else (unit, unit)
    first, second = (_SECONDS[one] if isinstance(one, str) else float(one or 1.0) for one in both)
    return first, second


def check_one_clock(
    source: str, observed: Range, seen: Range, stated: bool, what: str = "positions"
) -> None:
    """Check that observations and positions were taken at the same time.

    Args:
        source: the file, for errors.
        observed: first and last time of the spikes, s.
        seen: first and last time of the positions, s.
        stated: whether the unit of time was stated, so that a short overlap is meant.
        what: the positions are, for errors.

    Raises:
        ValueError: clocks that share less than a tenth of the longer, or nothing where stated.
    """
    share = _shared(observed, seen)
    if share > 0 and (stated or share >= _FEWEST_SHARED):
        return
    tried = [
        (_shared(*pair), who, unit)
        for unit, seconds in [*list(_SECONDS.items())[1:], *((f"{t:.6g}", t) for t in _TICKS)]
        for who, pair in (
            ("spikes", (_scaled(observed, seconds), seen)),
            (what, (observed, _scaled(seen, seconds))),
        )
    ]
    best, who, unit = max(tried, key=lambda one: one[0])
    how = "give both in seconds from the same start"
    if share > 0:
        how += ", or set data.time_unit=s if they are"
    if not stated and best >= _FITTING:
        pair = f"[{unit},s]" if who == "spikes" else f"[s,{unit}]"
        named = unit if unit in _SECONDS else f"ticks of {unit} s"
        how = f"{who} in {named} would share {best:.0%}: set 'data.time_unit={pair}'"
        how += ", or data.time_unit=s if both are in seconds" if share > 0 else ""
    raise ValueError(
        f"{source}: expected one clock for spikes and {what}, got spikes from "
        f"{observed[0]:g} to {observed[1]:g} s and {what} from {seen[0]:g} to {seen[1]:g} s, "
        f"{share:.2%} of it shared; {how}"
    )


def _scaled(times: Range, seconds: float) -> Range:
    return times[0] * seconds, times[1] * seconds


def _shared(one: Range, other: Range) -> float:
    """Return the overlap of two ranges as a share of the longer."""
    longest = max(one[1] - one[0], other[1] - other[0])
    overlap = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, overlap) / longest if longest > 0 else 0.0
