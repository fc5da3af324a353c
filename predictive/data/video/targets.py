"""What is known of each frame besides its pixels: a table of one row a frame."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictive.data.targets import TargetKind, categories_of, kind_of

# The column that names the clip of a row, which is checked and no target.
_CLIP = "clip"


def read_targets(
    path: str | Path, lengths: Mapping[str, int], kinds: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, TargetKind]]:
    """Read a CSV file of a row for each frame, of all clips one after another.

    Columns NAME_0, NAME_1, … are one target NAME; an empty field is unknown. A column "clip" must
    name the clip of each row: by its place, as video/clip1, or by the last part of it, clip1, where
    no other clip has that.

    Args:
        path: of the file; its first row names the columns.
        lengths: frames of each clip by name, in their order.
        kinds: of targets that are not continuous, as `kind_of` takes them.

    Returns:
        Each target, (frames of all clips, k), float32, NaN where unknown, and the kinds.

    Raises:
        FileNotFoundError: in one line: no file.
        ValueError: in one line: another number of rows than frames, other clips, no numbers.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"data.targets_path: expected a CSV file, got nothing at {file}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            header, *rows = [row for row in csv.reader(stream) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: expected a CSV file, got {error}") from None
    count = sum(lengths.values())
    if len(rows) != count:
        raise ValueError(
            f"{file}: expected {count} rows below the names of the columns, one a frame of "
            f"{len(lengths)} clips, got {len(rows)}"
        )
    short = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if short is not None:
        raise ValueError(
            f"{file}, row {short + 2}: expected {len(header)} fields, got {len(rows[short])}"
        )
    columns = {name: np.array([row[i] for row in rows]) for i, name in enumerate(header)}
    _check_clips(file, columns.pop(_CLIP, None), lengths)
    groups: dict[str, list[str]] = {}
    for name in columns:
        groups.setdefault(re.sub(r"_\d+$", "", name), []).append(name)
    if "inputs" in groups or "" in groups or not groups:
        raise ValueError(f"{file}: expected named columns other than inputs, got {header}")
    if unknown := [name for name in kinds if name not in groups]:
        raise ValueError(
            f"data.targets.{unknown[0]}: expected one of {', '.join(groups)} in {file}, got none"
        )
    found, told = {}, {}
    for name, names in groups.items():
        kind = kind_of(f"data.targets.{name}", kinds.get(name, "continuous"))
        texts = [columns[one] for one in names]
        if kind.name == "categorical":
            values: NDArray[Any] = np.stack(texts, axis=1)
            kind = replace(kind, categories=categories_of(f"{file}, {name}", values))
        else:
            values = np.stack([_numbers(file, one, columns[one]) for one in names], axis=1)
        try:
            found[name] = torch.from_numpy(kind.encoded(values)).to(torch.float32)
        except ValueError as error:
            raise ValueError(f"{file}, {name}: {error}") from None
        if kind.name != "continuous":
            told[name] = kind
    return found, told


def _check_clips(file: Path, named: NDArray[Any] | None, lengths: Mapping[str, int]) -> None:
    if named is None:
        return
    last = [name.rpartition("/")[2] for name in lengths]
    counts = Counter(last)
    short = [one if counts[one] == 1 else name for one, name in zip(last, lengths, strict=True)]
    expected, others = (
        np.repeat(np.array(names), list(lengths.values())) for names in (list(lengths), short)
    )
    if (wrong := np.flatnonzero((named != expected) & (named != others))).size:
        at = int(wrong[0])
        raise ValueError(
            f"{file}, row {at + 2}: expected a frame of the clip {expected[at]}, got {named[at]}; "
            "rows are in the order of the frames"
        )


def _numbers(file: Path, name: str, texts: NDArray[Any]) -> NDArray[np.float64]:
    found = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        try:
            found[i] = float(text) if text.strip() else np.nan
        except ValueError:
            raise ValueError(
                f"{file}, row {i + 2}: expected a number of {name}, got {str(text)!r}; set "
                f"data.targets.{name}=categorical for texts"
            ) from None
    return found
