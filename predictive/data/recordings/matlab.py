"""MATLAB files of any version: structs as dicts, cells as lists, sparse matrices as full ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.sparse import csc_matrix, issparse

from predictive.data.recordings.values import first_line

# First bytes of HDF5, and so of MATLAB files from version 7.3 on, at byte 0 or 512.
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def load_mat(path: Path) -> dict[str, Any]:
    """Return the variables of a MATLAB file: structs as dicts, cell arrays as lists.

    Version 7.3 is HDF5, read with h5py, whose matrices are transposed back.

    Raises:
        ValueError: not a MATLAB file, or one of version 7.3 without h5py.
    """
    with path.open("rb") as file:
        head = file.read(512 + len(_HDF5_SIGNATURE))
    if head.startswith(_HDF5_SIGNATURE) or head.endswith(_HDF5_SIGNATURE):
        try:
            import h5py
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{path}: expected h5py to read version 7.3, got none; pip install "
                "'solo-ldm[neuro]'"
            ) from error
        try:
            with h5py.File(path, "r") as file:
                return {k: _from_hdf5(v, file) for k, v in file.items() if k[0] != "#"}
        except Exception as error:  # of h5py or the references in it
            raise ValueError(f"{path}: expected HDF5, got: {first_line(error)}") from error
    try:
        loaded = loadmat(path)
        return {key: _plain(value) for key, value in loaded.items() if not key.startswith("__")}
    except Exception as error:  # of scipy, zlib or struct
        raise ValueError(f"{path}: expected a MATLAB file, got: {first_line(error)}") from error


def _plain(value: Any) -> Any:
    """Return what scipy read of a version before 7.3 in the form of `_from_hdf5`."""
    if issparse(value):
        return np.squeeze(value.toarray())
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        each = [{name: _plain(one[name]) for name in value.dtype.names} for one in value.ravel()]
        return each[0] if len(each) == 1 else each
    if value.dtype.kind == "O":
        return [_plain(one) for one in value.ravel(order="F")]
    if value.dtype.kind == "U":
        rows = [str(row) for row in value.ravel()]
        return rows[0] if len(rows) == 1 else rows or ""
    return np.squeeze(value)


def _from_hdf5(node: Any, file: Any) -> Any:
    if "MATLAB_sparse" in node.attrs:
        rows, ends = int(node.attrs["MATLAB_sparse"]), node["jc"][()]
        parts = (node["data"][()], node["ir"][()]) if "data" in node else ((), ())
        return np.squeeze(csc_matrix((*parts, ends), shape=(rows, len(ends) - 1)).toarray())
    if hasattr(node, "keys"):
        return {key: _from_hdf5(node[key], file) for key in node}
    is_text = node.attrs.get("MATLAB_class") in (b"char", "char")
    # An empty array is stored as its shape.
    if node.attrs.get("MATLAB_empty", 0):
        return "" if is_text else np.zeros((0, 0))
    values = node[()]
    if node.dtype.kind == "O":
        return [_from_hdf5(file[reference], file) for reference in values.T.ravel(order="F")]
    if is_text:
        return "".join(chr(code) for code in np.ravel(values))
    return np.squeeze(values.T)
