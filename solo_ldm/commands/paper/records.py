"""What finished runs gave, as small files to commit: the page is made of them alone."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jmespath

import solo_ldm
from solo_ldm.commands.paper.entries import Measure, Point, Registry, Run
from solo_ldm.files import read_json, sha256_of, write_text

_CHECKOUT = Path(solo_ldm.__file__).parents[1]
# What a record keeps of results.json beside the numbers that claims ask for.
_PROVENANCE = ("hardware", "versions", "commit", "finished", "seconds")
_KEYS = {"run", "command", "levels", "seed", "minutes", "data", "values", *_PROVENANCE}


class Records:
    """A folder with a file for each run: its arguments, its numbers and where they come from.

    Args:
        folder: of the records.
        registry: of the runs.
        checkout: where the folders of `records` lie, for runs that are records of `compare`.
    """

    def __init__(self, folder: Path, registry: Registry, checkout: Path = _CHECKOUT) -> None:
        self.folder, self.registry, self.checkout = folder, registry, checkout

    def path(self, run: Run, point: Point, seed: int) -> Path:
        """Return where the record of a run is or will be."""
        levels = "-".join(level for axis, level in point if axis in run.grid)
        name = "-".join(filter(None, (run.name, levels, f"seed{seed}")))
        return self.folder / f"{name}-{self.registry.key(run, point, seed)}.json"

    def find(self, run: Run, point: Point, seed: int) -> Mapping[str, Any] | None:
        """Return the record of a run, or None.

        Raises:
            ValueError: in one line, a file that is no record, or that of another run.
        """
        if run.records:
            return self._compared(run).get((point, seed))
        path = self.path(run, point, seed)
        if not path.is_file():
            return None
        record = read_json(path)
        values: Any = record.get("values")
        whole = record.keys() >= _KEYS and isinstance(values, Mapping)
        numbers = [record.get("minutes"), *values.values()] if whole else []
        versions = isinstance(record.get("versions"), Mapping | None)
        if not whole or not versions or not all(map(_is_number, numbers)):
            raise ValueError(f"{path}: expected a record, with numbers; remove it to measure again")
        about = {"run": run.name, "command": run.command, "levels": dict(point), "seed": seed}
        for key, expected in about.items():
            if record[key] != expected:
                raise ValueError(
                    f"{path}: expected the record of {key} {expected}, got {record[key]}; remove it"
                )
        data: Any = record["data"]
        if not isinstance(data, Mapping) or data.keys() != {*self.registry.needs(run)}:
            needs = ", ".join(self.registry.needs(run)) or "none"
            raise ValueError(f"{path}: expected the identities of its data ({needs}); remove it")
        return record

    def keep(
        self,
        run: Run,
        point: Point,
        seed: int,
        results: Mapping[str, Any],
        minutes: float,
        data: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Write the record of a finished run: every number that a claim asks of it.

        Args:
            run: what was run,
            point: where in its grid,
            seed: and with which seed.
            results: of the run.
            minutes: that it took.
            data: identities of the user's data, see `identity`, by name.

        Returns:
            Where results have no number; nothing is written then.
        """
        values = {value: jmespath.search(value, results) for value in sorted(self._asked(run))}
        lacking = [value for value, found in values.items() if not _is_number(found)]
        if lacking:
            return lacking
        record = {
            "run": run.name,
            "command": run.command,
            "levels": dict(point),
            "seed": seed,
            "minutes": round(minutes, 3),
            "data": {name: (data or {})[name] for name in self.registry.needs(run)},
            "values": values,
            **{key: results.get(key) for key in _PROVENANCE},
        }
        write_text(self.path(run, point, seed), json.dumps(record, indent=1) + "\n")
        return []

    def _asked(self, run: Run) -> set[str]:
        """Return where claims want numbers of a run."""
        measures = [
            one for claim in self.registry.claims.values() for one in claim.measures.values()
        ]
        return {one.value for one in measures if one.run == run.name}

    def check_data(self, data: Mapping[str, str]) -> None:
        """Raise a one-line ValueError where records are of other data than the user gives."""
        for record in self.provenance():
            for name, known in record["data"].items():
                if data.get(name, known) != known:
                    raise ValueError(
                        f"--data: expected the {name} that {self.folder} was measured on "
                        f"({known}), got another ({data[name]}); measure that with a --folder "
                        "and --runs of its own"
                    )

    def complete(self, run: Run, point: Point, seed: int) -> bool:
        """Return whether a run is recorded with every number that is asked of it."""
        record = self.find(run, point, seed)
        if record is None or run.records:
            return record is not None
        return self._asked(run) <= record["values"].keys()

    def value(self, measure: Measure, point: Point, seed: int) -> float | None:
        """Return a number of a run, or None where there is no record of it.

        Raises:
            ValueError: in one line, a record that is damaged, of another run or without the number.
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
        if not _is_number(found):
            raise ValueError(f"{run.records}: expected a number at {measure.value}, got {found!r}")
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


def identity(path: Path) -> str:
    """Return sixteen digits that stand for a file, or for the names and files of a folder."""
    if path.is_file():
        return sha256_of(path)[:16]
    files = sorted((one.relative_to(path).as_posix(), one) for one in path.rglob("*"))
    names = "\n".join(f"{name} {sha256_of(one)}" for name, one in files if one.is_file())
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def _is_number(found: Any) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return abs(found) <= sys.float_info.max  # false of NaN too
