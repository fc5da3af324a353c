"""A user's own mixtures, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from solo_ldm.ica.problems import Problem


def own_mixtures(path: str | Path, step_seconds: float | None = None) -> Problem:
    """Read mixtures from a file.

    Args:
        path: a .npy file with an array (T, N), or a .npz file with `mixtures` (T, N) and, where
            they are known, `sources` (T, N). In a .npz file with a single array, its name is free.
        step_seconds: time between rows, where they are equal steps in time.

    Raises:
        ValueError: a file that cannot be read, or arrays that do not fit.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            read = np.load(stream, allow_pickle=False)
            if isinstance(read, np.ndarray):
                arrays = {"mixtures": read}
            else:
                with read:  # closes the archive
                    arrays = dict(read)
    except Exception as error:  # of numpy, zipfile, zlib or struct
        what = " ".join(str(error).split())[:160]
        raise ValueError(f"mixtures: {path} cannot be read as numpy arrays: {what}") from None
    if len(arrays) == 1:
        arrays = {"mixtures": next(iter(arrays.values()))}
    if "mixtures" not in arrays:
        raise ValueError(
            f"mixtures: expected an array of that name in {path}, got {', '.join(arrays) or 'none'}"
        )
    mixtures = _numbers("mixtures", arrays["mixtures"])
    sources, mixing = None, None
    if "sources" in arrays:
        sources = _numbers("sources", arrays["sources"])
        if sources.shape != mixtures.shape:
            raise ValueError(
                "mixtures: expected sources and mixtures of one shape (T, N), "
                f"got {sources.shape} and {mixtures.shape}"
            )
        with np.errstate(all="ignore"):
            centred = mixtures - mixtures.mean(axis=0)
            sources = (sources - sources.mean(axis=0)) / sources.std(axis=0)
        if not (np.isfinite(sources).all() and np.isfinite(centred).all()):
            raise ValueError(
                "mixtures: expected sources that vary and numbers of common sizes, got others"
            )
        mixing = np.linalg.lstsq(sources, centred, rcond=None)[0].T
    size = " × ".join(map(str, mixtures.shape))
    about = f"mixtures of your own, {size} ({path.name})"
    return Problem(mixtures, about, sources, mixing, step_seconds=step_seconds)


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iuf" or array.ndim != 2:
        raise ValueError(
            f"{name}: expected real numbers of shape (T, N), "
            f"got {array.dtype} of shape {array.shape}"
        )
    values = array.astype(np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:  # a fit to them might never end
        raise ValueError(
            f"{name}: expected finite numbers, got {bad} of {values.size} that are not"
        )
    return values
