"""The registry: runs of commands, what is measured of them, and the claims that it decides."""

from __future__ import annotations

import hashlib
import math
import string
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from itertools import product
from typing import Any

import jmespath
import yaml
from jmespath.exceptions import JMESPathError

from solo_ldm.config.suggestions import suggestion

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


def load_registry(runs: str | None = None, claims: str | None = None) -> Registry:
    """Read the registry.

    Args:
        runs: YAML, the packaged file if None.
        claims: likewise.

    Raises:
        ValueError: in one line, an entry that is not whole.
    """
    folder = resources.files("solo_ldm.commands.paper.registry")
    texts = [
        (folder / f"{name}.yaml").read_text(encoding="utf-8") if text is None else text
        for name, text in (("runs", runs), ("claims", claims))
    ]
    parsed = [yaml.safe_load(text) or {} for text in texts]
    all_runs = {name: _made(Run, name, {"name": name, **one}) for name, one in parsed[0].items()}
    registry = Registry(all_runs, {name: _claim(name, one) for name, one in parsed[1].items()})
    _check(registry)
    return registry


def _claim(name: str, entry: Mapping[str, Any]) -> Claim:
    for key, kind in (("measures", Mapping), ("tests", list)):
        if not isinstance(entry, Mapping) or not isinstance(entry.get(key), kind) or not entry[key]:
            raise ValueError(f"{name}: expected measures by name and a list of tests, got {entry}")
    measures = {key: _made(Measure, f"{name}.{key}", one) for key, one in entry["measures"].items()}
    tests = tuple(_test(f"{name}.tests", one, measures) for one in entry["tests"])
    return _made(Claim, name, {**entry, "name": name, "measures": measures, "tests": tests})


def _test(where: str, entry: Mapping[str, Any], measures: Mapping[str, Measure]) -> Test:
    given = {key: tuple(one) if isinstance(one, list) else one for key, one in entry.items()}
    test = _made(Test, where, given)
    rules = [rule for rule in RULES if getattr(test, rule) is not None]
    if len(rules) != 1 or (test.minus and test.correlates):
        raise ValueError(
            f"{where}: expected one of {', '.join(RULES)} and one of minus, correlates at most, "
            f"got {entry}"
        )
    numbers = getattr(test, rules[0])
    pair = rules[0] == "between"
    numbers = numbers if pair and isinstance(numbers, tuple) else (numbers,)
    if len(numbers) != 1 + pair or not all(isinstance(one, int | float) for one in numbers):
        wanted = "two numbers" if pair else "a number"
        raise ValueError(f"{where}: {rules[0]}: expected {wanted}, got {entry[rules[0]]}")
    for measure in filter(None, (test.of, test.minus, test.correlates)):
        _known(where, measure, measures)
    return test


def _made(kind: type[Any], where: str, entry: Mapping[str, Any]) -> Any:
    names = {one.name: one for one in fields(kind)}
    for key in entry:
        _known(where, key, names)
    lacking = [
        key
        for key, one in names.items()
        if one.default is MISSING and one.default_factory is MISSING and key not in entry
    ]
    if lacking:
        raise ValueError(f"{where}: expected {', '.join(lacking)}, got only {', '.join(entry)}")
    return kind(**entry)


def _check(registry: Registry) -> None:
    for run in registry.runs.values():
        for before in run.after:
            _known(f"{run.name}.command", before, registry.runs)
        if bool(run.command) == bool(run.records):
            raise ValueError(f"{run.name}: expected a command or records, got both or neither")
        if not isinstance(run.seeds, int) or run.seeds < 1:
            raise ValueError(f"{run.name}.seeds: expected a number of at least 1, got {run.seeds}")
        if run.records and run.match.keys() != run.grid.keys():
            raise ValueError(f"{run.name}.match: expected {', '.join(run.grid)}, got {run.match}")
        _check_fields(run)
    _check_order(registry)
    for claim in registry.claims.values():
        for test in claim.tests:
            for axis in test.across:
                run = registry.runs.get(claim.measures[test.of].run)
                _known(f"{claim.name}.tests.across", axis, run.grid if run else {axis: axis})
        for name, measure in claim.measures.items():
            _known(f"{claim.name}.{name}", measure.run, registry.runs)
            try:
                jmespath.compile(measure.value)
            except JMESPathError as error:
                line = str(error).splitlines()[0]
                raise ValueError(f"{claim.name}.{name}: {measure.value}: {line}") from error
            if not registry.runs[measure.run].points(_axes(claim, name, measure, registry)):
                raise ValueError(f"{claim.name}.{name}: no run has the levels {measure.where}")


def _check_fields(run: Run) -> None:
    """Raise a one-line ValueError for a {name} that no run is given."""
    plain = {"seed", "folder", *run.grid}
    for _, name, _, _ in string.Formatter().parse(run.command):
        if name is not None and name.partition("[")[0] not in {*plain, "run", "data"}:
            raise ValueError(
                f"{run.name}.command: expected {{{'}, {'.join(sorted(plain))}}}, {{run[NAME]}} or "
                f"{{data[NAME]}}, got {{{name}}}"
            )


def _check_order(registry: Registry) -> None:
    try:
        TopologicalSorter({run.name: run.after for run in registry.runs.values()}).prepare()
    except CycleError as error:
        raise ValueError(f"runs: expected an order, got {' → '.join(error.args[1])}") from None


def _axes(claim: Claim, name: str, measure: Measure, registry: Registry) -> Mapping[str, str]:
    for axis in measure.where:
        _known(f"{claim.name}.{name}.where", axis, registry.runs[measure.run].grid)
    return measure.where


def _known(where: str, name: str, names: Mapping[str, Any]) -> None:
    if name not in names:
        nearest = suggestion(name, list(names))
        raise ValueError(f"{where}: expected one of {', '.join(names)}, got {name}{nearest}")
