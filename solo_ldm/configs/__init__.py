"""Hydra configurations that travel with the package, and those that the data sets bring.

A data set says its views in its module. The groups `data`, `augmentations`,
`linear_augmentations` and `masked` are made from there: Hydra reads `pkg://solo_ldm.configs` by
`importlib.resources`, which finds an archive in memory of the files of this folder and of those
made. A file of a user's own (--config-path) shadows one of them as it shadows a file. In Hydra's
ConfigStore they would be schemas, against which Hydra checks, and refuses, a user's file of the
same name.
"""

from __future__ import annotations

import io
import zipfile
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any


class _Loader(SourceFileLoader):
    """Loads this package, whose resources are an archive."""

    def get_resource_reader(self, name: str | None = None) -> Any:
        return self

    def files(self) -> zipfile.Path:
        # Imported when a file is looked for: it imports numpy and Pillow.
        from solo_ldm.data.datasets.registry import DATASETS

        return _archive(tuple(DATASETS))


@cache
def _archive(datasets: tuple[str, ...]) -> zipfile.Path:
    """Return the folder of all files; another data set makes another archive."""
    from solo_ldm.data.datasets.groups import group_files

    content, folder = io.BytesIO(), Path(__file__).parent
    with zipfile.ZipFile(content, "w") as archive:
        for path in [Path(__file__), *folder.rglob("*.yaml")]:
            archive.writestr(f"configs/{path.relative_to(folder).as_posix()}", path.read_bytes())
        for name, text in group_files().items():
            archive.writestr(f"configs/{name}", text)
    return zipfile.Path(zipfile.ZipFile(content), "configs/")


if __spec__ is not None:
    __spec__.loader = _Loader(__name__, __file__)
