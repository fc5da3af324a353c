"""Where the image and the label of an entry of a data set are: torch's, or Hugging Face's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_KINDS = (
    "an array (N, H, W, C) or (N, H, W), a tensor (N, C, H, W), or a sequence or data set of images"
)


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


def _check_kind(images: Any, key: str) -> None:
    if isinstance(images, Mapping):
        names = ", ".join(map(str, list(images)[:5]))
        raise ValueError(
            f"{key}: expected {_KINDS}, got {type(images).__name__} of {names}; give one of them"
        )
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        inner = "; give its data set (.dataset)" if hasattr(images, "dataset") else ""
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
