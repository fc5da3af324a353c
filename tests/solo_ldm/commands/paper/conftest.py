"""A registry of two claims, and commands that end at once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from solo_ldm.commands.paper import work
from solo_ldm.commands.paper.entries import Registry
from solo_ldm.commands.paper.reading import load_registry

RUNS = """
first:
  command: ica seed={seed} kind={kind} output={folder}
  minutes: 2
  seeds: 3
  grid: {kind: [a, b]}
second:
  command: knn {run[first]} path={data[images]} output={folder}
  minutes: 1
  seeds: 2
  grid: {kind: [a, b]}
"""
CLAIMS = """
differs:
  figure: "1"
  claim: A and b differ.
  unit: points
  measures:
    a: {run: first, where: {kind: a}, value: score, scale: 100}
    b: {run: first, where: {kind: b}, value: score, scale: 100}
  tests:
    - {of: a, minus: b, above: 5}
    - {of: b, below: 50}
follows:
  figure: "2"
  claim: The second run follows.
  measures:
    both: {run: second, value: "scores[?name=='x'] | [0].value"}
  tests: [{of: both, within: 1}]
"""


@pytest.fixture
def registry() -> Registry:
    """Two claims, of which the second reads the runs of the first and data."""
    return load_registry(RUNS, CLAIMS)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands end at once, with results by their arguments; the list has all arguments."""
    given: list[list[str]] = []

    class Ended:
        """A process that has ended."""

        def __init__(self, words: list[str], stdout: Any, **rest: Any) -> None:
            words = words[3:]
            given.append(words)
            keys = dict(word.split("=", 1) for word in words if "=" in word)
            seed = int(keys.get("seed", 0))
            self.returncode = 2 if seed == 2 else 0
            if self.returncode:
                stdout.write("something\nlearning rate too high\n")
                return
            score = {"a": 0.6, "b": 0.4}.get(keys.get("kind", ""), 0.0) + 0.01 * seed
            found = {"score": score, "scores": [{"name": "x", "value": 0.5}], "commit": "abc"}
            (Path(keys["output"]) / "results.json").write_text(json.dumps(found))

        def poll(self) -> int:
            return self.returncode

    monkeypatch.setattr(subprocess, "Popen", Ended)
    monkeypatch.setattr(work, "_LOOK", 0.0)
    return given
