"""The registry read from YAML, and checked as a whole."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import MISSING, fields
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from typing import Any

import jmespath
import yaml
from jmespath.exceptions import JMESPathError

from solo_ldm.commands.paper.entries import RULES, Claim, Measure, Registry, Run, Test
from solo_ldm.config.suggestions import suggestion


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
