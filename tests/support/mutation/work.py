"""Which faults are to be tried, what is known of them, and the table of it."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import yaml

from tests.support.mutation.mutants import Mutant, mutants

_HERE = Path(__file__).parent


class Work:
    """The faults to try, what is known, and the tests.

    Args:
        arguments: of the command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        listed = yaml.safe_load((_HERE / "modules.yaml").read_text())
        self.folder: Path = arguments.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tests: list[str] = listed["tests"]
        self.seconds: float = arguments.seconds
        self.modules = [
            str(path) for pattern in listed["modules"] for path in sorted(Path().glob(pattern))
        ]
        self._equivalent = yaml.safe_load((_HERE / "equivalent.yaml").read_text()) or {}
        names = arguments.modules or self.modules
        self.mutants = {name: mutants(Path(name).read_text()) for name in names}
        self.results: dict[str, dict[str, dict[str, Any]]] = {}
        if (path := self.folder / "results.jsonl").exists():
            for line in path.read_text().splitlines():
                one = json.loads(line)
                self.results.setdefault(one["module"], {})[one["key"]] = one
        self.todo: list[tuple[str, Mutant]] = []
        for name, all_of_it in self.mutants.items():
            known = self.results.get(name, {}).items()
            ended = ("killed", "timeout")
            done = {k for k, one in known if one["status"] in ended or not arguments.again}
            chosen = random.Random(0).sample(all_of_it, len(all_of_it))[: arguments.most]
            done |= self.excused(name).keys()
            self.todo += [(name, one) for one in chosen if one.key not in done]

    def excused(self, name: str) -> dict[str, str]:
        """Return the faults of a module that change nothing, with the reasons."""
        of_module: dict[str, list[str]] = self._equivalent.get(name, {})
        return {key: reason for reason, keys in of_module.items() for key in keys}

    def note(self, name: str, one: Mutant, ended: Any, seconds: float = 0.0) -> None:
        """Write down how a fault ended: the test that failed, or "" if none did."""
        status = {"": "survived", "timeout": "timeout", "untested": "untested"}.get(ended, "killed")
        entry = {"module": name, "key": one.key, "line": one.lines[0], "status": status}
        entry |= {"by": ended, "seconds": round(seconds, 2)}
        with (self.folder / "results.jsonl").open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
        if status != "killed":
            print(f"{status}  {name}:{one.lines[0]}  {one.key}", flush=True)

    def tests_of(self, name: str, one: Mutant, known: dict[str, Any]) -> tuple[list[str], float]:
        """Return the tests that execute a fault's lines, the fastest first, and their seconds."""
        first, last = one.lines
        # A module's or a class's own statements run before any test: all tests of the module.
        scope = one.key.partition(":")[0].rpartition(".")[2]
        whole = one.imported and (scope == "module" or scope.lstrip("_")[:1].isupper())
        found = [
            (test["seconds"], node)
            for node, test in known.items()
            if any(whole or first <= line <= last for line in test["lines"].get(name, ()))
        ]
        chosen, total = [], 0.0
        for seconds, node in sorted(found):
            if chosen and total + seconds > self.seconds:
                break
            chosen.append(node)
            total += seconds
        return chosen, total

    def report(self) -> None:
        """Print the table, and the survivors."""
        survivors, total = [], [0, 0, 0, 0]
        print(f"{'module':48} killed survived equivalent   score")
        for name, all_of_it in self.mutants.items():
            known, excused = self.results.get(name, {}), self.excused(name)
            counts = [0, 0, len(excused), 0]
            for one in all_of_it:
                status = known.get(one.key, {}).get("status")
                if one.key in excused:
                    continue
                place = {"killed": 0, "timeout": 0, None: 3}.get(status, 1)
                counts[place] += 1
                if place == 1:
                    survivors.append(f"{status}  {name}:{one.lines[0]}  {one.key}")
            stale = excused.keys() - {one.key for one in all_of_it}
            survivors += [f"not there  {name}  {key}" for key in sorted(stale)]
            total = [a + b for a, b in zip(total, counts, strict=True)]
            if all_of_it:
                _row(name, counts)
        _row("all", total)
        print("\n".join(survivors), flush=True)


def _row(name: str, counts: list[int]) -> None:
    killed, survived, equivalent, unknown = counts
    score = f"{100 * killed / max(1, killed + survived):5.1f} %"
    rest = f"  ({unknown} not tried)" if unknown else ""
    print(f"{name:48} {killed:6} {survived:8} {equivalent:10} {score}{rest}")
