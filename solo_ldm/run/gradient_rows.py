"""gradients.csv of a run: how alike the gradients of objectives are, over training."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from solo_ldm.evaluation.gradients import Row
from solo_ldm.files import write_csv

_HEADER = ("with_respect_to", *Row._fields)


class GradientRows:
    """The table of gradients of a run, continued when the run is.

    A row a number: when it was measured, with respect to what ("latents" or "encoder"), and the
    fields of `solo_ldm.evaluation.gradients.Row`.

    Args:
        path: of the file.
        when: name of the first column: "epoch" (so many were done) or "step".
    """

    def __init__(self, path: Path, when: str) -> None:
        self.path, self.when = path, when
        self._rows: list[tuple[Any, ...]] = []

    def keep_before(self, start: int) -> None:
        """Keep what an interrupted run measured before the place that it continues from."""
        kept = read_gradients(self.path) if start and self.path.exists() else []
        self._rows = [tuple(row.values()) for row in kept if row[self.when] < start]

    def add(self, when: int, found: Mapping[str, Iterable[Row]]) -> None:
        """Add what was measured, by what it is with respect to, and write the file."""
        for respect, rows in found.items():
            self._rows += [(when, respect, *row) for row in rows]
        write_csv(self.path, (self.when, *_HEADER), self._rows)


def read_gradients(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a gradients.csv, with numbers as such.

    Raises:
        ValueError: in one line: another table, or a damaged one.
    """
    try:
        with path.open(newline="") as stream:
            reader = csv.DictReader(stream)
            when, *others = reader.fieldnames or ("",)
            if tuple(others) != _HEADER:
                raise ValueError(f"the columns {reader.fieldnames}")
            return [{**row, when: int(row[when]), "value": float(row["value"])} for row in reader]
    except (TypeError, ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: expected the gradients of a run, got {error}; remove the file"
        ) from None


def cosines_of(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the cosines with respect to the encoder, for results.json.

    Returns:
        An entry an epoch: "epoch"; "entropy" and "loss": by the name of the first and of the second
        objective of a pair, null where a gradient is zero.
    """
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        if row["with_respect_to"] == "encoder" and row["second"]:
            here = found.setdefault(row["epoch"], {"epoch": row["epoch"]})
            of = here.setdefault(row["quantity"].removesuffix(" cosine"), {})
            value = row["value"] if math.isfinite(row["value"]) else None
            of.setdefault(row["first"], {})[row["second"]] = value
    return list(found.values())
