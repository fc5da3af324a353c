"""Labels that a Python program holds, as numbers of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def of_tensor(tensor: Any) -> npt.NDArray[Any]:
    """Return the values of a tensor of any device; those of few bits in float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def number_labels(
    labels: Any,
    count: int,
    names: Sequence[str] | None,
    key: str,
    like: Sequence[str] | None,
    said: str | None = None,
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Number the labels of images.

    Args:
        labels: (N,) whole numbers or names, -1 where an image has none; None for no labels.
        count: N.
        names: of the classes, by whole numbers; None names them by these.
        key: of the images, data or val.
        like: the classes of the training images, which validation images have; None: these are
            the training images.
        said: what the labels are called; labels or val_labels if not given.

    Returns:
        (N,) numbers of classes, -1 without; and the classes, none where nothing is labelled.

    Raises:
        ValueError: in one line: labels of another form or number, a single class, or one that the
            training images do not have.
    """
    without = "set data.no_labels=true" if said else "leave them out"
    said = said or ("labels" if key == "data" else f"{key}_labels")
    if labels is None and like is not None:
        raise ValueError(f"{said}: expected the labels of {key}, got none; they are scored by them")
    if labels is None:
        return np.full(count, -1), ()
    values = _values(labels, count, said)
    known, numbers = np.unique(values, return_inverse=True)
    labelled = known != (-1 if known.dtype.kind == "i" else "-1")
    if names is not None and known.dtype.kind == "i" and known.max() >= len(names):
        raise ValueError(f"{said}: expected numbers below {len(names)}, got {known.max()}")
    numbered = names is not None and known.dtype.kind == "i"
    called = [str(names[one] if names and numbered else one) for one in known.tolist()]
    found = [one for one, has in zip(called, labelled, strict=True) if has]
    classes: tuple[str, ...] = tuple(found if names is None else names)
    classes = classes if like is None else tuple(like)
    if found and like is None and len(found) == 1:
        raise ValueError(
            f"{said}: expected two classes or more, got the one class {found[0]}; {without} to "
            "train without labels"
        )
    for one in found:
        if one not in classes:
            raise ValueError(f"{said}: expected one of {', '.join(classes[:20])}, got {one}")
    places = {name: number for number, name in enumerate(classes)}
    table = [places[one] if has else -1 for one, has in zip(called, labelled, strict=True)]
    return np.array(table, np.int64)[numbers.reshape(-1)], classes if found else ()


def _values(labels: Any, count: int, said: str) -> npt.NDArray[Any]:
    """Return labels as whole numbers, or as texts."""
    values = of_tensor(labels) if hasattr(labels, "detach") else np.asarray(labels)
    if values.dtype.kind == "O" and values.ndim == 1:
        kinds = {type(one) for one in values.tolist()}
        if kinds == {str}:
            values = values.astype(str)
        elif not any(issubclass(kind, float) or kind is type(None) for kind in kinds):
            values = np.array([int(one) if hasattr(one, "item") else one for one in values])
    if values.shape != (count,):
        raise ValueError(
            f"{said}: expected one label an image, ({count},), got {tuple(values.shape)}"
        )
    if values.dtype.kind not in "iubU":
        raise ValueError(
            f"{said}: expected whole numbers, or names, got {values.dtype}; number the classes "
            "from 0, -1 for an image without a label"
        )
    values = values if values.dtype.kind == "U" else values.astype(np.int64)
    if values.dtype.kind == "i" and values.min() < -1:
        raise ValueError(
            f"{said}: expected numbers from 0, or -1 for an image without a label, got "
            f"{values.min()}"
        )
    return values
