"""Files that are there and values that are numbers, or a line that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse


def existing(path: str | Path) -> Path:
    """Return the path of a file that is there."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"data.path: expected the file of a recording, got {path}; no such file"
        )
    return Path(path)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def numbers(values: Any, what: str) -> NDArray:
    """Return an array of real numbers.

    Args:
        values: as a file has them; a sparse matrix gives a full one.
        what: they are, for errors.

    Raises:
        ValueError: in one line: text, complex numbers, times of day, or rows of several lengths.
    """
    try:
        array = values.toarray() if issparse(values) else np.asarray(values)
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: expected numbers, got: {first_line(error)}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: expected numbers, got {array.dtype}")
    return array


def whole_numbers(values: Any, what: str) -> NDArray[np.int64]:
    """Return a vector of whole numbers; a ValueError in one line for others, see `numbers`."""
    vector = numbers(values, what).ravel()
    if not (np.isfinite(vector) & (vector == np.round(vector))).all():
        raise ValueError(f"{what}: expected whole numbers, got fractions, NaN or infinity")
    return vector.astype(np.int64)
