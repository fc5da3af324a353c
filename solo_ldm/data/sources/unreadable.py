"""Images that cannot be read, or not as they are: their names are kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed

from solo_ldm.data.sources.images import FileImages, ImageSource, UnreadableImageError
from solo_ldm.data.sources.pixels import Picture

# Unreadable images that results name; all are counted.
NAMED_FILES = 20


class Unreadable:
    """Which images of a source turned out to be unreadable or clipped, known to every process.

    Another image replaces one that is unreadable; one with values outside the range of pixels is
    clipped.

    Args:
        source: of the images.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        # One byte an image in shared memory: what a worker finds out, the main process sees.
        self._flags = torch.zeros(len(source), dtype=torch.bool).share_memory_()
        self._clipped = torch.zeros(len(source), dtype=torch.bool).share_memory_()

    def load(self, index: int) -> Picture:
        """Return image `index`, and note what is wrong with it.

        Raises:
            UnreadableImageError: it cannot be read.
        """
        try:
            image, clipped = self._source.read(index)
        except UnreadableImageError:
            self.mark(index)
            raise
        if clipped:
            self._clipped[index] = True
        return image

    def mark(self, index: int) -> None:
        """Note that image `index` cannot be read."""
        self._flags[index] = True

    def __contains__(self, index: int) -> bool:
        return bool(self._flags[index])

    def replacement(self, index: int) -> int:
        """Return the next image, cyclically, that is not known to be unreadable.

        Raises:
            UnreadableImageError: there is none left.
        """
        number = len(self._flags)
        for step in range(1, number):
            other = (index + step) % number
            if not self._flags[other]:
                return other
        raise UnreadableImageError(
            f"none of the {number} images of {self._source.name} can be read; "
            f"are they images? the first: {self.reason(0)}"
        )

    def reason(self, index: int) -> str:
        """Return why image `index` cannot be read; its name if it can."""
        try:
            self._source.read(index)
        except UnreadableImageError as error:
            return str(error)
        return self.name(index)

    def names(self) -> list[str]:
        """Return the paths of the images found unreadable so far, in order."""
        return [self.name(index) for index in torch.nonzero(self._flags).flatten().tolist()]

    def clipped(self) -> list[str]:
        """Return the paths of the images found so far that hold values outside the range."""
        return [self.name(index) for index in torch.nonzero(self._clipped).flatten().tolist()]

    def share(self) -> None:
        """Share among the processes of a distributed run what each has found; all must call it."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return
        kinds = (self._flags, self._clipped)
        mine = [torch.nonzero(flags).flatten().tolist() for flags in kinds]
        everyones: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(everyones, mine)
        for found in everyones:
            for flags, indexes in zip(kinds, found, strict=True):
                flags[indexes] = True

    def name(self, index: int) -> str:
        """Return the path of an image, or its number where it has none."""
        if isinstance(self._source, FileImages):
            return self._source.path(index)
        return f"image {index}"
