"""Which tests execute which lines of the modules, and how long they take."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.support import processes

Lines = dict[str, set[int]]


@dataclass
class Executed:
    """What a test executes: its seconds, and lines of modules by their paths."""

    seconds: float
    lines: dict[str, list[int]] = field(default_factory=dict)


class Tracer:
    """Note the lines of some files, in this process and in the children of tests."""

    def __init__(self, paths: dict[str, str], folder: Path) -> None:
        self._paths, self._folder = paths, folder
        self.lines: Lines = defaultdict(set)
        enter = processes._enter

        def enter_and_write(path: Path, *rest: Any) -> None:
            try:
                enter(path, *rest)
            finally:
                taken = {name: sorted(lines) for name, lines in self.lines.items()}
                (folder / f"{path.parent.name}-{path.name}.json").write_text(json.dumps(taken))

        processes._enter = enter_and_write

    def take(self) -> Lines:
        """Return the lines since the last call, those of children too."""
        taken, self.lines = self.lines, defaultdict(set)
        for path in self._folder.glob("*.json"):
            for name, lines in json.loads(path.read_text()).items():
                taken[name].update(lines)
            path.unlink()
        return taken

    def __call__(self, frame: Any, event: str, _: Any) -> Any:
        """Trace the lines of a call in one of the files."""
        name = self._paths.get(frame.f_code.co_filename)
        if name is None:
            return None
        lines = self.lines[name]
        lines.add(frame.f_lineno)

        def line(frame: Any, event: str, _: Any) -> Any:
            if self.lines[name] is not lines:
                self.lines[name].add(frame.f_lineno)
            lines.add(frame.f_lineno)
            return line

        return line


class _Fixtures:
    """Note what fixtures that several tests share execute."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self.of: dict[Any, tuple[float, Lines]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        """Run one, and give its lines to every test that has it."""
        before, start = self._tracer.take(), time.monotonic()
        try:
            return (yield)
        finally:
            lines = self._tracer.take()
            self.of[fixturedef] = time.monotonic() - start, lines
            for name in {*before, *lines}:
                self._tracer.lines[name] = before[name] | lines[name]


def execute(items: list[Any], paths: dict[str, str], folder: Path) -> dict[str, dict[str, Any]]:
    """Run tests, each of which must pass, and return by their names what they execute.

    Args:
        items: pytest's tests.
        paths: of the files whose lines count, with the names of the modules.
        folder: for what children execute.
    """
    tracer = Tracer(paths, folder)
    fixtures = _Fixtures(tracer)
    items[0].config.pluginmanager.register(fixtures)
    found = {}
    for item, following in zip(items, [*items[1:], None], strict=True):
        tracer.take()
        start = time.monotonic()
        sys.settrace(tracer)
        reports = runtestprotocol(item, log=False, nextitem=following)
        sys.settrace(None)
        seconds, lines = time.monotonic() - start, tracer.take()
        if any(report.failed for report in reports):
            continue  # a test that fails by itself shows nothing
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            if definitions[-1] in fixtures.of and definitions[-1].scope != "function":
                more, of_fixture = fixtures.of[definitions[-1]]
                seconds += more
                for name, some in of_fixture.items():
                    lines[name] |= some
        executed = {name: sorted(some) for name, some in lines.items() if some}
        found[item.nodeid] = asdict(Executed(seconds, executed))
    return found


def digest(*texts: str) -> str:
    """Return a name for texts."""
    return hashlib.sha1("\0".join(texts).encode()).hexdigest()[:12]
