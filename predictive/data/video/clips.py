"""Where the frames of clips are: folders of images, files of arrays, image stacks, videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mode
from typing import Literal, NamedTuple

from PIL import Image

from solo_ldm.data.sources.decoding import image_suffixes
from solo_ldm.data.sources.pixels import BROKEN_FILE

_ARRAYS = frozenset((".npy", ".npz"))
# Images of some pages are told from videos by what Pillow opens: GIF is an image.
_VIDEOS = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"))
# Further images of these are previews of a photograph and layers, no pages.
_NO_PAGES = ("MPO", "PSD")
# Of the steps between numbers in names, others than the usual one: times have no usual step.
_UNUSUAL = 0.1


class Source(NamedTuple):
    """Where a clip, or several of one array, are.

    Args:
        name: its path below what was given.
        kind: one image a frame, pages of an image, an array or a video.
        files: of its frames, in their order, or the one file.
    """

    name: str
    kind: Literal["images", "pages", "array", "video"]
    files: tuple[Path, ...]


def find_clips(path: str | Path | Sequence[str | Path]) -> list[Source]:
    """Return the clips of a path or of a list of these, sorted as numbers in names count.

    A folder's images are the frames of one clip, or each a clip where they have several pages; its
    folders and its files of arrays and videos are further clips.

    Raises:
        FileNotFoundError: in one line: nothing at a path.
        ValueError: in one line: a folder without frames, a file of another kind, images of one page
            beside images of several.
    """
    found: list[Source] = []
    for one in [path] if isinstance(path, str | Path) else path:
        place = Path(one).expanduser()
        if not place.exists():
            raise FileNotFoundError(f"data.path: expected frames, got nothing at {place}")
        if place.is_dir():
            found += _of_folder(place, place.name)
        elif (source := _of_file(place, place.name)) is not None:
            found.append(source)
        else:
            raise ValueError(
                "data.path: expected a folder of frames, an array (.npy, .npz) or a video "
                f"({', '.join(sorted(_VIDEOS))}), got {place}"
            )
    if not found:
        raise ValueError("data.path: expected frames, got an empty list")
    return found


def clip_files(
    path: str | Path | Sequence[str | Path], targets_path: str | Path | None = None
) -> list[Path]:
    """Return every file that is read of clips and of their targets."""
    targets = [] if targets_path is None else [Path(targets_path).expanduser()]
    return [file for source in find_clips(path) for file in source.files] + targets


def _of_folder(folder: Path, name: str) -> list[Source]:
    shown = (one for one in folder.iterdir() if not one.name.startswith("."))
    entries = sorted(shown, key=lambda one: natural(one.name))
    images = _frames_among(entries)
    found = [Source(name, "images", tuple(images))] if images else []
    for one in entries:
        below = f"{name}/{one.name}"
        if one.is_dir():
            found += _of_folder(one, below)
        elif one not in images and (source := _of_file(one, below)) is not None:
            found.append(source)
    if not found:
        raise ValueError(
            f"data.path: expected frames (images, .npy, .npz, videos) in every folder, got none in "
            f"{folder}"
        )
    return found


def _frames_among(entries: Sequence[Path]) -> dict[Path, bool | None]:
    """Return the images of a folder that are frames of one clip: none where they have pages."""
    suffixes = image_suffixes()
    images = [one for one in entries if one.suffix.lower() in suffixes and not one.is_dir()]
    paged = {one: _has_pages(one) for one in images}
    first = {has: one for one, has in reversed(paged.items())}
    if True in first and False in first:
        raise ValueError(
            "data.path: expected a folder's images to have one page each, a frame, or several "
            f"each, a clip, got several in {first[True]} and one in {first[False]}; use two folders"
        )
    return {} if True in first else paged


def _has_pages(file: Path) -> bool | None:
    """Return whether an image has several pages; None for what Pillow does not open."""
    try:
        with Image.open(file) as image:
            return image.format not in _NO_PAGES and bool(getattr(image, "is_animated", False))
    except BROKEN_FILE:
        return None  # refused, or read by tifffile, where frames are read


def _of_file(file: Path, name: str) -> Source | None:
    suffix = file.suffix.lower()
    if suffix in _ARRAYS:
        return Source(name, "array", (file,))
    if suffix in _VIDEOS:
        return Source(name, "video", (file,))
    return Source(name, "pages", (file,)) if suffix in image_suffixes() else None


def leap_in(source: Source) -> tuple[str, int] | None:
    """Return the frame before the first leap of the numbers in names, and how many it leaves out.

    None where there is none, or names are not numbered by one step.
    """
    numbers = [re.findall(r"\d+", one.stem)[-1:] for one in source.files]
    if source.kind != "images" or len(numbers) < 3 or [] in numbers:
        return None
    steps = [int(later) - int(one) for (one,), (later,) in pairwise(numbers)]
    usual = mode(steps)
    if usual < 1 or len(steps) - steps.count(usual) > max(1.0, _UNUSUAL * len(steps)):
        return None
    leaps = ((at, step) for at, step in enumerate(steps) if step > usual)
    return next(((source.files[at].name, step // usual - 1) for at, step in leaps), None)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(one), one) if one.isdigit() else (1, 0, one) for one in parts if one]
