"""Images that are parts of larger files: byte ranges of tar shards and of Arrow files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt


class Part(NamedTuple):
    """An image file inside a larger file.

    Args:
        file: the path of the larger file.
        offset: of the first byte.
        size: in bytes.
        name: for people.
    """

    file: str
    offset: int
    size: int
    name: str

    def open(self) -> BinaryIO:
        """Return the bytes as an open file: one read, as a network's file system is asked best."""
        with open(self.file, "rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))

    def middle(self, most: int) -> Part:
        """Return the middle of the part, up to so many bytes."""
        start = max(0, (self.size - most) // 2)
        return self._replace(offset=self.offset + start, size=min(self.size, most))

    def __str__(self) -> str:
        return self.name


Place = str | Path | Part


def opened(place: Place) -> BinaryIO:
    """Open a file, or a part of one, for reading."""
    return place.open() if isinstance(place, Part) else open(place, "rb")


class Parts:
    """Many images inside files, as arrays that worker processes share.

    Args:
        files: (F,) paths.
        shown: (F,) how the files are called for people; their paths if not given.
        rows: (N,) of four fields, the number of the file, offset, size and name of each image.
    """

    def __init__(
        self, files: Sequence[str], rows: npt.NDArray[Any], shown: Sequence[str] | None = None
    ) -> None:
        self.rows = rows
        self._files, self._shown = (
            np.array([os.fsencode(one) for one in names], np.bytes_)
            for names in (files, files if shown is None else shown)
        )

    @classmethod
    def of(
        cls,
        files: Sequence[str],
        images: Sequence[tuple[int, int, int, str]],
        shown: Sequence[str] | None = None,
    ) -> Parts:
        """Return the parts of files, each the number of its file, its offset, size and name."""
        names = [os.fsencode(name) for *_, name in images]
        longest = max([1, *map(len, names)])
        kind = [("file", "i4"), ("offset", "i8"), ("size", "i8"), ("name", f"S{longest}")]
        rows = [(*image[:3], name) for image, name in zip(images, names, strict=True)]
        return cls(files, np.array(rows, kind), shown)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indexes: npt.NDArray[np.int64]) -> Parts:
        """Return the images at `indexes`, in that order."""
        chosen = object.__new__(Parts)
        chosen.rows, chosen._files, chosen._shown = self.rows[indexes], self._files, self._shown
        return chosen

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The bytes of each image."""
        return self.rows["size"]

    @property
    def files(self) -> list[bytes]:
        """The files that hold some of the images."""
        return [bytes(self._files[number]) for number in np.unique(self.rows["file"])]

    def part(self, index: int) -> Part:
        """Return image `index`."""
        row = self.rows[index]
        file, shown = (
            os.fsdecode(bytes(names[row["file"]])) for names in (self._files, self._shown)
        )
        name = os.fsdecode(bytes(row["name"]))
        return Part(
            file, int(row["offset"]), int(row["size"]), f"{shown}/{name}" if name else shown
        )
