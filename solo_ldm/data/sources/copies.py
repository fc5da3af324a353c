"""Images that are one file under several names, or several of one content."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from solo_ldm.data.sources.headers import Kind, probe
from solo_ldm.data.sources.images import FileImages, ImageSource
from solo_ldm.data.sources.parts import Part, Place, opened

# Files among which copies are looked for, and those of equal sizes that are opened for it.
MOST_FILES, MOST_OPENED = 200_000, 50_000
# Bytes of the middle that must agree before whole files are compared.
_PART = 4096


def copies_among(*sources: ImageSource) -> tuple[list[list[int]], str | None]:
    """Find the images of the same content, in files or in memory; see `find_copies`.

    Args:
        sources: of the images, which are numbered through.
    """
    files = [source for source in sources if isinstance(source, FileImages)]
    if files:
        paths = [source.place(index) for source in files for index in range(len(source))]
        return find_copies(paths) if len(files) == len(sources) else ([], None)
    pixels = (image for source in sources for image in source.images)
    groups = _grouped((_digest_of(one), index) for index, one in enumerate(pixels))
    return [group for group in groups if len(group) > 1], None


def find_copies(paths: Sequence[Place]) -> tuple[list[list[int]], str | None]:
    """Find the files that are one (by links) or have the same content.

    Only files of one size are opened; of those, first the middle is compared.

    Args:
        paths: of the files.

    Returns:
        The indexes of each group of two or more, and what was not looked for, None for nothing.
    """
    if len(paths) > MOST_FILES:
        return [], f"copies are not looked for among more than {MOST_FILES} files"
    files: dict[Hashable, list[int]] = defaultdict(list)
    by_size: dict[int, list[Hashable]] = defaultdict(list)
    for index, path in enumerate(paths):
        if isinstance(path, Part):
            file, size = path[:2], path.size
        else:
            try:
                stat = os.stat(path)
            except OSError:  # it will be found unreadable
                continue
            file, size = (stat.st_dev, stat.st_ino), stat.st_size
        files[file].append(index)
        if len(files[file]) == 1:
            by_size[size].append(file)
    alike = [group for size, group in by_size.items() if len(group) > 1 and size]
    left, opened = None, sum(map(len, alike))
    if opened > MOST_OPENED:
        alike = []
        left = f"copies are looked for among links alone: {opened} files have sizes in common"
    for whole in (False, True):
        parts = [
            _grouped((_digest(paths[files[one][0]], whole), one) for one in group)
            for group in alike
        ]
        alike = [group for part in parts for group in part if len(group) > 1]
    for first, *others in alike:
        files[first] += [index for one in others for index in files.pop(one)]
    return sorted(sorted(group) for group in files.values() if len(group) > 1), left


def describe_copies(source: ImageSource, groups: list[list[int]], root: str) -> str | None:
    """Return a line on the training images that are copies of others; None if there are none.

    Args:
        source: of the images.
        groups: the indexes of the images of each content.
        root: the folder that paths are shown from.
    """
    files = source if isinstance(source, FileImages) else None
    pairs = [
        (group[0], other)
        for group in groups
        if files is None or probe(files.place(group[0])).kind != Kind.UNREADABLE
        for other in group[1:]
    ]
    if not pairs:
        return None
    torn = [(one, other) for one, other in pairs if source.labels[one] != source.labels[other]]
    where = "data" if files is None else "data.train_path"
    what = f"images of {where} are copies of others"
    if len(pairs) == 1:
        what = f"image of {where} is a copy of another"
    if len(torn) == len(pairs):
        return f"{len(pairs)} {what}, of another class ({_named(source, pairs, root)}); remove them"
    said = f"{len(pairs)} {what} ({_named(source, pairs, root)})"
    if torn:
        said += f", {len(torn)} of them of another class ({_named(source, torn, root)})"
    return f"{said}; remove those that are not meant"


def name_of(source: ImageSource, index: int, key: str) -> str:
    """Return the path of an image, or its place in an argument of `solo_ldm.pretrain`."""
    return source.path(index) if isinstance(source, FileImages) else f"{key}[{index}]"


def _named(source: ImageSource, pairs: list[tuple[int, int]], root: str) -> str:
    shown = []
    for pair in pairs[:3]:
        one, other = (name_of(source, index, "data") for index in pair)
        if isinstance(source, FileImages):
            one, other = os.path.relpath(one, root), os.path.relpath(other, root)
        names = [source.classes[label] if label >= 0 else "-1" for label in source.labels[[*pair]]]
        if one != other:
            shown.append(f"{one} = {other}")
        else:
            how = "twice" if names[0] == names[1] else f"as {' and as '.join(names)}"
            shown.append(f"{one} listed {how}")
    return ", ".join(shown) + (f" and {len(pairs) - 3} more" if len(pairs) > 3 else "")


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> list[list[Any]]:
    groups: dict[Any, list[Any]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return list(groups.values())


def _digest_of(pixels: Any) -> Hashable:
    """Return a hash of pixels (H, W[, C]), the same of gray as one channel and as three."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if pixels.shape[2] == 3 and (pixels[..., 1:] == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16)
    return pixels.shape, digest.digest()


def _digest(path: Place, whole: bool) -> Hashable:
    """Return a hash of a file or of its middle; something unique where it cannot be read."""
    try:
        if isinstance(path, Part) and not whole:
            path = path.middle(_PART)
        with opened(path) as file:
            if not whole:
                file.seek(max(0, (file.seek(0, os.SEEK_END) - _PART) // 2))
            content = file.read() if whole else file.read(_PART)
    except OSError:
        return object()
    return hashlib.blake2b(content, digest_size=16).digest()
