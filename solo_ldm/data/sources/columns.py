"""Where things are: the image and the label of an entry of a data set, the axes of an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solo_ldm.data.sources.labels import of_tensor

_KINDS = (
    "an array (N, H, W, C) or (N, H, W), a tensor (N, C, H, W), or a sequence or data set of images"
)
# Numbers of channels by which the axis of channels is known: gray, colours, with transparency.
_CHANNELS = (1, 3, 4)
_COLOURS = (3, 4)


@dataclass
class Columns:
    """Where the image and the label of an entry are.

    Args:
        image: key of the image in an entry; None where it is the entry, or its first part.
        label: key of the label; None where there is none, or it is the second part.
        names: of the classes, in the order of their numbers, where the data set has some.
        has_labels: whether entries have a label.
    """

    image: Any
    label: Any
    names: Sequence[str] | None = None
    has_labels: bool = False

    def read(self, images: Any, index: int, key: str) -> tuple[Any, Any]:
        """Return the image and the label (None without) of an entry.

        Raises:
            ValueError: in one line: it cannot be read.
        """
        try:
            entry = images[index]
            if self.image is None:
                return entry, None
            return entry[self.image], entry[self.label] if self.has_labels else None
        except Exception as error:  # of any data set
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{key}[{index}]: cannot be read ({type(error).__name__}: {reason}); expected "
                f"{_KINDS}"
            ) from error


def columns_of(images: Any, labels: Any, key: str) -> Columns:
    """Find the image and the label in the entries of a sequence or a data set.

    Args:
        images: the sequence.
        labels: of the images, where they are given; the name of their column for Hugging Face's.
        key: of the argument, for messages.

    Raises:
        ValueError: in one line: it is no sequence of images, or it is empty.
    """
    _check_kind(images, key)
    features = getattr(images, "features", None)
    if isinstance(features, Mapping):
        return _of_features(features, labels, key)
    first = Columns(None, None).read(images, 0, key)[0]
    if not isinstance(first, (tuple, list)):
        return Columns(None, None)
    if not first:
        raise ValueError(f"{key}[0]: expected an image, or an image and a label, got nothing")
    return Columns(0, 1, _names(images), len(first) > 1 and labels is None)


def by_position(images: Any) -> Any:
    """Return images; a column of pandas, which is read by the labels of its rows, as an array."""
    return np.asarray(images) if hasattr(images, "iloc") and images.ndim == 1 else images


def _check_kind(images: Any, key: str) -> None:
    if isinstance(images, Mapping):
        names = ", ".join(map(str, list(images)[:5]))
        raise ValueError(
            f"{key}: expected {_KINDS}, got {type(images).__name__} of {names}; give one of them"
        )
    if hasattr(images, "iloc"):
        raise ValueError(
            f"{key}: expected {_KINDS}, got {type(images).__name__}; give its column of paths, "
            'such as X["path"]'
        )
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        inner = "; give its data set (.dataset)" if hasattr(images, "dataset") else ""
        inner = "; give a list of it" if hasattr(images, "__next__") else inner
        raise ValueError(f"{key}: expected {_KINDS}, got {type(images).__name__}{inner}")
    if not len(images):
        raise ValueError(f"{key}: expected images, got none ({type(images).__name__})")


def _of_features(features: Mapping[str, Any], labels: Any, key: str) -> Columns:
    """Find the columns of a data set of Hugging Face by their types."""

    def named(kind: str) -> list[str]:
        return [name for name, one in features.items() if type(one).__name__ == kind]

    pictures, classes = named("Image"), named("ClassLabel")
    if len(pictures) != 1:
        got = ", ".join(pictures) or f"none among {', '.join(features)}"
        raise ValueError(
            f"{key}: expected one column of images, got {got}; choose it by .select_columns, or "
            ".cast_column it to datasets.Image()"
        )
    if isinstance(labels, str):
        if labels not in features:
            raise ValueError(f"labels: expected one of {', '.join(features)}, got {labels}")
        classes = [labels]
    if labels is not None and not isinstance(labels, str):
        return Columns(pictures[0], None)
    if len(classes) > 1:
        raise ValueError(
            f"labels: expected the name of one column of {', '.join(classes)}, got none"
        )
    label = classes[0] if classes else None
    names = getattr(features[label], "names", None) if label else None
    return Columns(pictures[0], label, names, label is not None)


def _names(images: Any) -> Sequence[str] | None:
    """Return the names of the classes of a data set of torch, also through its parts."""
    while images is not None:
        names = getattr(images, "classes", None)
        if isinstance(names, (list, tuple)) and all(isinstance(one, str) for one in names):
            return names
        images = getattr(images, "dataset", None)
    return None


def as_array(images: Any, key: str) -> npt.NDArray[Any] | None:
    """Return images that are one array or tensor, (N, H, W[, C]); None for other kinds."""
    tensor = hasattr(images, "detach")
    if not tensor and not isinstance(images, np.ndarray):
        return None
    pixels = of_tensor(images) if tensor else images
    if pixels.dtype.kind == "O" and pixels.ndim == 1:
        return None
    shape = "(N, C, H, W)" if tensor else "(N, H, W, C)"
    if pixels.ndim not in (3, 4) or pixels.dtype.kind not in "biuf" or 0 in pixels.shape:
        one = "; one image is a list of one" if pixels.ndim == 2 else ""
        raise ValueError(
            f"{key}: expected images (N, H, W) or {shape}, numbers, at least one, got "
            f"{pixels.dtype} {tuple(pixels.shape)}{one}"
        )
    if pixels.ndim == 4:
        return _channels_last(pixels, tensor, key)
    count = pixels.shape[0] if tensor and pixels.shape[0] in _COLOURS else pixels.shape[-1]
    if count in _COLOURS:
        gray = "(N, 1, H, W)" if tensor else "(N, H, W, 1)"
        raise ValueError(
            f"{key}: expected images (N, H, W) or {shape}, got {tuple(pixels.shape)}, as if one "
            f"image of {count} channels; one image is a list of one, or X[None]; gray ones are "
            f"{gray}"
        )
    return pixels


def values_of(image: Any, name: str) -> npt.NDArray[Any]:
    """Return the values (H, W) or (H, W, C) of an array or a tensor."""
    tensor = hasattr(image, "detach")
    values = of_tensor(image) if tensor else image
    fits = isinstance(values, np.ndarray) and values.ndim in (2, 3) and values.size
    if not fits or values.dtype.kind not in "biuf":
        shape = getattr(values, "shape", None)
        got = type(image).__name__ if shape is None else f"{values.dtype} {tuple(shape)}"
        raise ValueError(
            f"{name}: expected an image (a path, Pillow's, an array (H, W[, C]) or a tensor "
            f"(C, H, W)), got {got}"
        )
    return _channels_last(values, tensor, name) if values.ndim == 3 else values


def _channels_last(pixels: npt.NDArray[Any], tensor: bool, key: str) -> npt.NDArray[Any]:
    """Return images whose last axis is that of the channels, as torch's first one is."""
    first, last = pixels.shape[-3], pixels.shape[-1]
    wrong = last if tensor else first
    if wrong in _CHANNELS and (first if tensor else last) > max(_CHANNELS):
        batch = "N, " if pixels.ndim == 4 else ""
        kinds = [f"({batch}C, H, W)", f"({batch}H, W, C)"]
        raise ValueError(
            f"{key}: expected {kinds[not tensor]} as {'torch' if tensor else 'NumPy'} has images, "
            f"got {tuple(pixels.shape)}, as if {kinds[tensor]}; move the axis of channels"
        )
    pixels = np.moveaxis(pixels, -3, -1) if tensor else pixels
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels
