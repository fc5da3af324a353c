"""Hydra configurations that travel with the package, and those that the data sets bring.

A data set says its views in its module. The groups `data`, `augmentations`,
`linear_augmentations` and `masked` are made from there: `importlib.resources`, by which Hydra reads
`pkg://solo_ldm.configs`, finds them among the files of this folder. A file of a user's own
(--config-path) shadows one of them as it shadows a file. In Hydra's ConfigStore they would be
schemas, against which Hydra checks, and refuses, a user's file of the same name.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

_GROUPS = ("data", "augmentations", "linear_augmentations", "masked")


class _Text:
    """A file whose text is made when it is read."""

    def __init__(self, name: str, make: Callable[[], str]) -> None:
        self.name, self.read_text = name, make

    def exists(self) -> bool:
        return True

    is_file = exists

    def is_dir(self) -> bool:
        return False

    def open(self, mode: str = "r", **_: Any) -> io.IOBase:
        text = self.read_text()
        return io.BytesIO(text.encode()) if "b" in mode else io.StringIO(text)


class _Folder:
    """A folder on disk whose groups hold made files as well."""

    def __init__(self, disk: Path, group: str | None = None) -> None:
        self.name, self._disk, self._group = disk.name, disk, group

    def exists(self) -> bool:
        return True

    is_dir = exists

    def is_file(self) -> bool:
        return False

    def iterdir(self) -> Iterator[Any]:
        on_disk = [path.name for path in self._disk.iterdir()] if self._disk.is_dir() else []
        return (self / name for name in sorted({*on_disk, *self._made()}))

    def joinpath(self, *parts: str) -> Any:
        first, *rest = [name for part in parts for name in part.split("/") if name] or [""]
        made = self._made().get(first)
        found = (self._disk / first if first else self) if made is None else made()
        return found.joinpath(*rest) if rest else found

    __truediv__ = joinpath

    def _made(self) -> dict[str, Callable[[], Any]]:
        if self._group is None:
            return {name: partial(_Folder, self._disk / name, name) for name in _GROUPS}
        # Imported when a group is looked into: it imports numpy and Pillow.
        from solo_ldm.data.datasets.groups import files_of

        return {name: partial(_Text, name, text) for name, text in files_of(self._group).items()}


class _Loader(SourceFileLoader):
    """Loads this package, whose resources are a `_Folder`."""

    def get_resource_reader(self, name: str | None = None) -> Any:
        return self

    def files(self) -> _Folder:
        return _Folder(Path(__file__).parent)


if __spec__ is not None:
    __spec__.loader = _Loader(__name__, __file__)
