"""Images that are one file under several names, or several files of one content."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

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
