"""Text files that list images, with their labels or without."""

import os
import re
from functools import cache
from pathlib import Path

from solo_ldm.data.sources.decoding import image_suffixes
from solo_ldm.data.sources.images import Listing

_HEADINGS = ("path", "file", "filename", "image")
# The label of an unlabelled image.
_UNLABELLED = "-1"


def read_list(path: Path, key: str, no_labels: bool = False) -> Listing:
    """Read a list of images: a line each, its path and, on all lines or on none, its label.

    A tab, comma or spaces separate the two. Paths are relative to the list's folder. Labels are
    names or numbers; numbers are sorted by value, and -1 marks an unlabelled image. Empty lines,
    lines that start with #, and a heading such as "path,label" are skipped.

    Args:
        path: of the list, UTF-8.
        key: of the configuration, for messages.
        no_labels: ignore the labels.

    Raises:
        FileNotFoundError: a listed file is missing.
        ValueError: a malformed line, labels on some lines alone, or no line at all.
    """
    paths: list[str] = []
    names: list[str | None] = []
    files_of: dict[str, set[str]] = {}
    # Names that are not UTF-8 pass unchanged, as in any path of the file system.
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    if "\0" in text:
        raise ValueError(
            f"{key}: expected a folder of images, or a text file (UTF-8) that lists images, got "
            f"{path}, which is neither; give the folder of the images, unpacked"
        )
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        row = _row().fullmatch(line)
        if row is None:
            if not paths and _is_heading(line):
                continue
            raise ValueError(
                f"{key}: {path}, line {number}: expected the path of an image and, after a tab, "
                f"comma or space, its label, got {_shown(line)}; correct the line or remove it"
            )
        place, label = os.path.join(path.parent, row["path"]), row["label"]
        if names and (names[0] is None) != (label is None) and not no_labels:
            has, first = ("no", "has one") if label is None else ("a", "has none")
            raise ValueError(
                f"{key}: {path}, line {number}: {has} label, but the first image {first}; give "
                f"every image a label (-1 for an unlabelled one), or set data.no_labels=true"
            )
        folder, name = os.path.split(place)
        if folder not in files_of:
            # Listing a folder costs less than asking for each of its files.
            files_of[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in files_of[folder]:
            raise FileNotFoundError(
                f"{key}: {path}, line {number}: no file {place}; paths are relative to the "
                f"list's folder"
            )
        paths.append(place)
        names.append(label)
    if not paths:
        raise ValueError(f"{key}: {path} lists no images; expected one path a line")
    if no_labels:
        return Listing(paths, [-1] * len(paths), ())
    classes = _classes({name for name in names if name is not None and name != _UNLABELLED})
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(classes)}
    return Listing(paths, [numbers.get(name, -1) for name in names], tuple(classes))


@cache
def _row() -> re.Pattern[str]:
    suffix = "|".join(map(re.escape, sorted(image_suffixes())))
    # The last image suffix that a separator follows ends the path, so that the path may hold spaces
    # and commas, and the label spaces.
    return re.compile(
        rf'(?P<quote>"?)(?P<path>.*(?:{suffix}))(?P=quote)'
        r'(?:\s*[\t, ]\s*"?(?P<label>[^\t,"]+)"?)?',
        re.IGNORECASE,
    )


def _classes(names: set[str]) -> list[str]:
    return sorted(names, key=int if all(name.isdecimal() for name in names) else None)


def _is_heading(line: str) -> bool:
    return re.split(r"[\t, ]", line)[0].strip('"').lower() in _HEADINGS


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:60]}...")
