"""Images that are one file under several names, or several files of one content."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from solo_ldm.data.sources.headers import Kind, probe
from solo_ldm.data.sources.images import FileImages

# Files among which copies are looked for, and those of equal sizes that are opened for it.
MOST_FILES, MOST_OPENED = 200_000, 50_000
# Bytes of the middle that must agree before whole files are compared.
_PART = 4096


def find_copies(paths: Sequence[str]) -> tuple[list[list[int]], str | None]:
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
        try:
            stat = os.stat(path)
        except OSError:  # it will be found unreadable
            continue
        files[stat.st_dev, stat.st_ino].append(index)
        if len(files[stat.st_dev, stat.st_ino]) == 1:
            by_size[stat.st_size].append((stat.st_dev, stat.st_ino))
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


def describe_copies(source: FileImages, groups: list[list[int]], root: str) -> str | None:
    """Return a line on the training images that are copies of others; None if there are none.

    Args:
        source: of the images.
        groups: the indexes of the images of each content.
        root: the folder that paths are shown from.
    """
    pairs = [
        (group[0], other)
        for group in groups
        if probe(source.path(group[0])).kind != Kind.UNREADABLE
        for other in group[1:]
    ]
    if not pairs:
        return None
    torn = [(one, other) for one, other in pairs if source.labels[one] != source.labels[other]]
    what = "images of data.train_path are copies of others"
    if len(pairs) == 1:
        what = "image of data.train_path is a copy of another"
    if len(torn) == len(pairs):
        return f"{len(pairs)} {what}, of another class ({_named(source, pairs, root)}); remove them"
    said = f"{len(pairs)} {what} ({_named(source, pairs, root)})"
    if torn:
        said += f", {len(torn)} of them of another class ({_named(source, torn, root)})"
    return f"{said}; remove those that are not meant"


def _named(source: FileImages, pairs: list[tuple[int, int]], root: str) -> str:
    shown = []
    for pair in pairs[:3]:
        one, other = (os.path.relpath(source.path(index), root) for index in pair)
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


def _digest(path: str, whole: bool) -> Hashable:
    """Return a hash of a file or of its middle; something unique where it cannot be read."""
    try:
        with open(path, "rb") as file:
            if not whole:
                file.seek(max(0, (os.fstat(file.fileno()).st_size - _PART) // 2))
            content = file.read() if whole else file.read(_PART)
    except OSError:
        return object()
    return hashlib.blake2b(content, digest_size=16).digest()
