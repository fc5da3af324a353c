"""The captions of the training images, of which each epoch sees one an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from solo_ldm.data.augment.draws import Uniforms

# In place of the number of a view, far from any of them and from that of `augment.pairs`.
_STREAM = 2**33


class Captions:
    """Captions by the index of their image, as tokens in memory.

    Which caption of an image a batch has is a function of (seed, epoch, image) alone, as
    augmentations are.

    Args:
        captions: (N,) one or several texts of each image.
        tokenise: returns texts as (M, L).
    """

    def __init__(
        self, captions: Sequence[Sequence[str]], tokenise: Callable[[Sequence[str]], Tensor]
    ) -> None:
        texts = list(dict.fromkeys(text for own in captions for text in own))
        numbers = {text: number for number, text in enumerate(texts)}
        self.tokens = tokenise(texts)
        # The captions of image i are `_texts[_first[i] : _first[i + 1]]`.
        self._texts = np.array([numbers[text] for own in captions for text in own], np.int64)
        self._first = np.concatenate([[0], np.cumsum([len(own) for own in captions])])

    def draw(self, seed: int, epoch: int, indexes: npt.ArrayLike) -> Tensor:
        """Return the tokens (B, L) of a caption of each image.

        Args:
            seed: of the run.
            epoch: of the run.
            indexes: (B,) of the images in the data set.
        """
        indexes = np.asarray(indexes, dtype=np.int64)
        first, count = self._first[indexes], self._first[indexes + 1] - self._first[indexes]
        drawn = Uniforms(seed, epoch, _STREAM, indexes).take(1)[:, 0]
        chosen = self._texts[first + np.minimum((drawn * count).astype(np.int64), count - 1)]
        return self.tokens[torch.from_numpy(chosen)]
