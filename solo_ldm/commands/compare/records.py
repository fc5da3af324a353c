"""Finished runs as small files: their scores without their weights, to commit or to copy."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from solo_ldm.commands.compare.runs import Result, Run
from solo_ldm.files import read_json, write_text
from solo_ldm.run.configuration import complete
from solo_ldm.run.folder import identity

# Where the data lie is no part of a run on another machine; what they are is compared.
_PLACES = ("data.train_path", "data.val_path")
_KEYS = {"configuration", "data", "results"}
# Keys of every record, that tables and pictures need, by their type.
_WHOLE: dict[Any, str] = {
    Mapping: "results.results",
    str: "configuration.method data.contents data.what results.method results.dataset "
    "results.backbone results.precision results.hardware results.data_backend results.finished "
    "results.versions.solo_ldm results.versions.torch",
    (str, type(None)): "results.commit",
    (int, float): "results.num_train_images results.num_val_images results.epochs "
    "results.batch_size results.seconds",
}


class Records:
    """A folder with a file for each finished run.

    A file holds what decides what the run computed (its configuration), what it was trained on and
    its results.json. A run is found by an equal configuration and equal data, on any machine.

    Args:
        folder: of the files; None keeps and finds nothing.
        say: takes a line for each run whose record is of other data.

    Raises:
        ValueError: in one line: a file of the folder is no record.
    """

    def __init__(self, folder: str | Path | None, say: Callable[[str], object]) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self._say = say

    def find(self, run: Run) -> Result | None:
        """Return the result of a finished run of the same configuration on the same data.

        Raises:
            ValueError: in one line: the data are not known, and there are records of several.
        """
        wanted = _key(_content(run))
        paths = self._as_written.get(wanted) or self._completed.get(wanted, [])
        scored = [p for p in paths if run.protocols <= self._all[p]["results"]["results"].keys()]
        same = [
            path
            for path in scored
            if run.data is None or self._all[path]["data"]["contents"] == run.data.contents
        ]
        if len(same) > 1:
            listed = ", ".join(map(str, same))
            raise ValueError(
                f"records: expected one record of {run.label}, seed {run.seed}, got {listed}, of "
                "other data each; move all but one away"
            )
        for path in () if same else scored:
            before, now = self._all[path]["data"]["what"], run.data.what if run.data else ""
            self._say(f"{path} was trained on other data ({before}, now: {now})")
        if not same:
            return None
        found = self._all[same[0]]
        contents = found["data"]["contents"]
        return Result(run.label, run.seed, str(same[0]), found["results"], contents=contents)

    def keep(self, run: Run, result: Result) -> None:
        """Write the record of a finished run."""
        if self.folder is None or not result.finished or run.data is None:
            return
        content = _content(run)
        known_by = f"{_key(content)}{run.data.contents}"
        digest = hashlib.sha256(known_by.encode()).hexdigest()[:8]
        record = {
            "configuration": content,
            "data": {"contents": run.data.contents, "what": run.data.what.partition(" in ")[0]},
            "results": result.results,
        }
        name = f"{str(run.cfg.name).replace('/', '-')}-{digest}.json"
        write_text(self.folder / name, json.dumps(record) + "\n")

    @cached_property
    def _all(self) -> dict[Path, Mapping[str, Any]]:
        """The records by their files."""
        paths = sorted(self.folder.glob("*.json")) if self.folder is not None else []
        return {path: _read(path) for path in paths}

    @cached_property
    def _as_written(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path, record in self._all.items():
            found.setdefault(_key(record["configuration"]), []).append(path)
        return found

    @cached_property
    def _completed(self) -> dict[str, list[Path]]:
        """The same with the defaults of keys that there were not when a record was written."""
        found: dict[str, list[Path]] = {}
        for path, record in self._all.items():
            try:
                completed = complete(OmegaConf.create(dict(record["configuration"])))
            except ValueError as error:
                what = str(error).partition(": set it")[0]  # nobody sets a key of a record
                raise _not_whole(path, f"its configuration: {what}") from error
            found.setdefault(_key(identity(completed, _PLACES)), []).append(path)
        return found


def on_same_data(runs: Mapping[Run, Result], say: Callable[[str], object]) -> dict[Run, Result]:
    """Leave out results on other data than most of the runs that name the same data.

    Data are compared by their contents, where they are known, and the numbers of images.

    Args:
        runs: finished ones, with their results.
        say: takes a line with the count and the names of what is left out.

    Raises:
        ValueError: in one line: as many runs are on one data set as on another.
    """
    groups: dict[str, dict[Run, Result]] = {}
    for run, result in runs.items():
        named = _key(identity(run.cfg)["data"])
        groups.setdefault(named, {})[run] = result
    lost: list[Run] = []
    for group in groups.values():
        known = [one.data for one in group.values() if one.contents] or [
            one.data for one in group.values()
        ]
        (most, count), *rest = Counter(known).most_common()
        others = [
            run
            for run, one in group.items()
            if one.data != most and (one.contents or one.data[1:] != most[1:])
        ]
        if not others:
            continue
        listed = "; ".join(f"{one.label}, seed {one.seed} ({runs[one].path})" for one in others)
        if rest and rest[0][1] == count:
            raise ValueError(
                f"records: expected runs on the same data, got {count} on one and "
                f"{len(others)} on other data: {listed}; move the records of either away"
            )
        say(
            f"left out: {len(others)} of {len(group)} runs, on other data than the others: {listed}"
        )
        lost += others
    return {run: result for run, result in runs.items() if run not in lost}


def _read(path: Path) -> Mapping[str, Any]:
    record = read_json(path)
    if not record.keys() >= _KEYS:
        raise ValueError(
            f"records: expected the record of a run ({', '.join(sorted(_KEYS))}) in {path}; move "
            "the file away"
        )
    for kind, keys in _WHOLE.items():
        for key in keys.split():
            _check(path, record, key.split("."), kind)
    for protocol in record["results"]["results"]:
        for key, kind in (("top1", (int, float)), ("interval", list)):
            _check(path, record, ["results", "results", protocol, key], kind)
    return record


def _check(path: Path, value: Any, keys: Sequence[str], kind: Any) -> None:
    name = ".".join(keys)
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            raise _not_whole(path, f"no {name}")
        value = value[key]
    if not isinstance(value, kind):
        raise _not_whole(path, f"a {type(value).__name__} as {name}")


def _not_whole(path: Path, what: str) -> ValueError:
    return ValueError(
        f"records: expected the whole record of a run in {path}, got {what}; move the file away"
    )


def _content(run: Run) -> dict[str, Any]:
    return identity(run.cfg, _PLACES)


def _key(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)
