"""What finished runs gave, as small files to commit: the page is made of them alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jmespath

from solo_ldm.commands.paper.entries import Measure, Point, Registry, Run
from solo_ldm.files import read_json, write_text

# What a record keeps of results.json beside the numbers that claims ask for.
_PROVENANCE = ("hardware", "versions", "commit", "finished", "seconds")


class Records:
    """A folder with a file for each run: its arguments, its numbers and where they come from.

    Args:
        folder: of the records.
        registry: of the runs.
        checkout: where the folders of `records` lie, for runs that are records of `compare`.
    """

    def __init__(self, folder: Path, registry: Registry, checkout: Path = Path()) -> None:
        self.folder, self.registry, self.checkout = folder, registry, checkout

    def path(self, run: Run, point: Point, seed: int) -> Path:
        """Return where the record of a run is or will be."""
        levels = "-".join(level for axis, level in point if axis in run.grid)
        name = "-".join(filter(None, (run.name, levels, f"seed{seed}")))
        return self.folder / f"{name}-{self.registry.key(run, point, seed)}.json"

    def find(self, run: Run, point: Point, seed: int) -> Mapping[str, Any] | None:
        """Return the record of a run, or None."""
        if run.records:
            return self._compared(run).get((point, seed))
        path = self.path(run, point, seed)
        return read_json(path) if path.is_file() else None

    def keep(
        self, run: Run, point: Point, seed: int, results: Mapping[str, Any], minutes: float
    ) -> None:
        """Write the record of a finished run: every number that a claim asks of it."""
        asked = {
            measure.value
            for claim in self.registry.claims.values()
            for measure in claim.measures.values()
            if measure.run == run.name
        }
        record = {
            "run": run.name,
            "command": run.command,
            "levels": dict(point),
            "seed": seed,
            "minutes": round(minutes, 3),
            "values": {value: jmespath.search(value, results) for value in sorted(asked)},
            **{key: results.get(key) for key in _PROVENANCE},
        }
        write_text(self.path(run, point, seed), json.dumps(record, indent=1) + "\n")

    def complete(self, run: Run, point: Point, seed: int) -> bool:
        """Return whether a run is recorded with every number that is asked of it."""
        record = self.find(run, point, seed)
        if record is None or run.records:
            return record is not None
        return all(
            measure.value in record["values"]
            for claim in self.registry.claims.values()
            for measure in claim.measures.values()
            if measure.run == run.name
        )

    def value(self, measure: Measure, point: Point, seed: int) -> float | None:
        """Return a number of a run, or None where there is no record of it.

        Raises:
            ValueError: in one line, a record whose results have no such number.
        """
        run = self.registry.runs[measure.run]
        record = self.find(run, point, seed)
        if record is None:
            return None
        if run.records:
            found = jmespath.search(measure.value, record["results"])
        elif measure.value not in record["values"]:
            return None
        else:
            found = record["values"][measure.value]
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ValueError(
                f"{self.path(run, point, seed).name}: expected a number at {measure.value}, "
                f"got {found!r}; the command's results.json has other names"
            )
        return measure.scale * found

    def seeds(self, run: Run) -> list[int]:
        """Return the seeds that may be recorded of a run."""
        if run.records:
            return sorted({seed for _, seed in self._compared(run)})
        return list(range(run.seeds))

    def provenance(self) -> list[Mapping[str, Any]]:
        """Return the records of this folder that belong to the registry's runs as they are now."""
        found = []
        for run in self.registry.runs.values():
            for point in run.points():
                for seed in self.seeds(run):
                    record = None if run.records else self.find(run, point, seed)
                    if record is not None:
                        found.append(record)
        return found

    def _compared(self, run: Run) -> dict[tuple[Point, int], Mapping[str, Any]]:
        found = self._all_compared.get(run.records)
        if found is None:
            paths = sorted((self.checkout / run.records).glob("*.json"))
            found = self._all_compared[run.records] = [read_json(path) for path in paths]
        wanted = set(run.points())
        by_point = {}
        for record in found:
            levels = tuple((axis, jmespath.search(run.match[axis], record)) for axis in run.grid)
            if levels in wanted:
                by_point[levels, record["results"]["seed"]] = record
        return by_point

    @cached_property
    def _all_compared(self) -> dict[str, list[Mapping[str, Any]]]:
        return {}
