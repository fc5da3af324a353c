"""Pairs of images of one class in place of two views of one image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solo_ldm.data.augment.draws import Uniforms

Ints = npt.NDArray[np.int64]

# In place of the number of a view, far from any of them.
_STREAM = 2**32


class Partners:
    """The image that each image of a batch is paired with.

    With probability `match` it is another image of the same class, else one of another class,
    uniform among them. Matches are draws of (seed, epoch, image) alone, as augmentations are.

    Args:
        labels: (N,) class numbers of the training images.
        match: probability of the same class, 0 to 1.
        seed: of the run.
        name: of the data set, for errors.

    Raises:
        ValueError: an image without a label, a class of one image where there must be another, or
            one class alone where there must be others.
    """

    def __init__(self, labels: npt.ArrayLike, match: float, seed: int, name: str) -> None:
        labels = np.asarray(labels, dtype=np.int64)
        unlabelled = int((labels < 0).sum())
        if unlabelled:
            raise ValueError(
                f"data.pair_match: needs a label for each training image, got {unlabelled} of the "
                f"{len(labels)} of {name} without one; set data.pair_match=null"
            )
        self._match, self._seed = float(match), seed
        # The images class by class; a class is a stretch of them.
        self._sorted = np.argsort(labels, kind="stable")
        self._place = np.empty_like(self._sorted)
        self._place[self._sorted] = np.arange(len(labels))
        classes, start, count = np.unique(
            labels[self._sorted], return_index=True, return_counts=True
        )
        row = np.searchsorted(classes, labels)
        self._start, self._count = start[row], count[row]
        if match > 0 and count.min() < 2:
            raise ValueError(
                f"data.pair_match={match:g} needs two images of each class, but {name} has a "
                "class of one training image; raise data.fraction or set data.pair_match=null"
            )
        if match < 1 and len(classes) < 2:
            raise ValueError(
                f"data.pair_match={match:g} needs images of two classes, but those of {name} are "
                "all of one; set data.pair_match=1"
            )

    def __call__(self, epoch: int, indexes: npt.ArrayLike) -> Ints:
        """Return the partners of images.

        Args:
            epoch: of the run.
            indexes: (B,) of the images in the data set.

        Returns:
            (B,) indexes, never an image's own.
        """
        indexes = np.asarray(indexes, dtype=np.int64)
        numbers = Uniforms(self._seed, epoch, _STREAM, indexes).take(2)
        start, count = self._start[indexes], self._count[indexes]
        # Of the same class: any place of its stretch but the image's own, which is stepped over.
        same = start + (numbers[:, 1] * (count - 1)).astype(np.int64)
        same += same >= self._place[indexes]
        # Of another class: any place but those of the stretch.
        other = (numbers[:, 1] * (len(self._sorted) - count)).astype(np.int64)
        other += np.where(other >= start, count, 0)
        matched = numbers[:, 0] < self._match
        return self._sorted[np.where(matched, same, other)]


def of_partner(view: int) -> bool:
    """Whether a view is of the partner: the second one is, the fourth, and so on."""
    return view % 2 == 1
