"""The registry: runs of commands, what is measured of them, and the claims that it decides."""

from __future__ import annotations

import hashlib
import math
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

RULES = ("above", "below", "between", "within", "beyond")

Point = tuple[tuple[str, str], ...]  # names and levels of a grid's axes


@dataclass(frozen=True, eq=False)
class Run:
    """A command with everything that its arguments depend on.

    Args:
        name: of the run.
        command: arguments of `solo-ldm`, with {seed}, {folder} (for the results), the axes of the
            grid, {run[NAME]} (the folder of another run at the same seed and levels) and
            {data[NAME]} (a path that the user gives).
        minutes: of one run on one core, roughly.
        seeds: the most that are worth running.
        grid: levels by axis; each combination is run.
        records: in place of a command, the folder (in a checkout) of records of `solo-ldm compare`.
        match: where a record says its level of each axis, as JMESPath.
    """

    name: str
    command: str = ""
    minutes: float = 1.0
    seeds: int = 3
    grid: Mapping[str, list[str]] = field(default_factory=dict)
    records: str = ""
    match: Mapping[str, str] = field(default_factory=dict)

    def points(self, where: Mapping[str, str] | None = None) -> list[Point]:
        """Return the combinations of levels, those only that agree with `where`."""
        every = (
            tuple(zip(self.grid, levels, strict=True)) for levels in product(*self.grid.values())
        )
        wanted = (where or {}).items()
        return [point for point in every if all(dict(point)[axis] == one for axis, one in wanted)]

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the data that the user has to give."""
        return tuple(name for kind, name in self._fields() if kind == "data")

    @property
    def after(self) -> tuple[str, ...]:
        """Names of the runs whose results it reads."""
        return tuple(name for kind, name in self._fields() if kind == "run")

    def _fields(self) -> Iterator[tuple[str, str]]:
        for _, name, _, _ in string.Formatter().parse(self.command):
            kind, _, key = (name or "").partition("[")
            if key:
                yield kind, key.rstrip("]")


@dataclass(frozen=True)
class Measure:
    """A number of each run.

    Args:
        run: name of the run.
        value: where its results.json has the number, as JMESPath.
        where: levels of the grid; over the other axes the mean is taken.
        scale: to multiply it by.
    """

    run: str
    value: str
    where: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0


@dataclass(frozen=True)
class Test:
    """What decides: a measure, the difference or correlation of two, and where it has to lie.

    Args:
        of: name of a measure.
        minus: of the one to subtract, at the same seed.
        correlates: of the one to correlate it with, in place of a difference.
        across: axes of the grid. Each combination of their levels is a pair, averaged over the
            seeds, and the interval is over the pairs; without, it is over the seeds.
        above: its 95 % interval has to lie above this,
        below: or below this,
        between: or between these two,
        within: or nearer to zero than this,
        beyond: or farther from zero than this.
    """

    of: str
    minus: str = ""
    correlates: str = ""
    across: tuple[str, ...] = ()
    above: float | None = None
    below: float | None = None
    between: tuple[float, float] | None = None
    within: float | None = None
    beyond: float | None = None

    @property
    def alone(self) -> bool:
        """Whether it is of a measure by itself."""
        return not self.minus and not self.correlates

    @property
    def name(self) -> str:
        """What is looked at."""
        if self.correlates:
            return f"correlation of {self.of} and {self.correlates}"
        return f"{self.of} − {self.minus}" if self.minus else self.of

    @property
    def rule(self) -> str:
        """The name of the rule."""
        return next(rule for rule in RULES if getattr(self, rule) is not None)

    @property
    def ends(self) -> tuple[float, float]:
        """The two values that the rule divides by, infinite where there is one."""
        number = getattr(self, self.rule)
        if self.rule == "above":
            return number, math.inf
        if self.rule == "below":
            return -math.inf, number
        return number if self.rule == "between" else (-number, number)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Args:
        name: of the entry.
        figure: of the paper, or its table.
        claim: in a sentence.
        measures: by name.
        tests: the first one is the claim itself, the others qualify it.
        paper: what the paper has for it.
        unit: of the measures.
        note: what differs from the paper's experiment.
        picture: of a run, "RUN:FILE", shown beside.
        optional: on data that few have: the page leaves it out until it is measured.
    """

    name: str
    figure: str
    claim: str
    measures: Mapping[str, Measure]
    tests: tuple[Test, ...]
    paper: str = ""
    unit: str = ""
    note: str = ""
    picture: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Registry:
    """All runs and claims, by name, in the order in which they are shown."""

    runs: Mapping[str, Run]
    claims: Mapping[str, Claim]

    def runs_of(self, claim: Claim) -> list[Run]:
        """Return the runs that a claim needs, each after those that it needs itself."""
        found: dict[str, Run] = {}

        def add(name: str) -> None:
            for before in self.runs[name].after:
                add(before)
            found.setdefault(name, self.runs[name])

        for measure in claim.measures.values():
            add(measure.run)
        return list(found.values())

    def needs(self, run: Run) -> tuple[str, ...]:
        """Return the names of the data that a run and those before it need."""
        before = [name for other in run.after for name in self.needs(self.runs[other])]
        return tuple(dict.fromkeys([*before, *run.needs]))

    def key(self, run: Run, point: Point, seed: int) -> str:
        """Return eight digits that stand for a run's arguments and those of the runs before it."""
        levels = {axis: level for axis, level in point if axis in run.grid}
        before = [self.key(self.runs[name], point, seed) for name in run.after]
        text = repr((run.command, sorted(levels.items()), seed, before))
        return hashlib.sha256(text.encode()).hexdigest()[:8]
