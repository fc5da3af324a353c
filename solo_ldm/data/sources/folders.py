"""Folders of images: their class folders, and the files below them."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from solo_ldm.data.sources.decoding import image_suffixes
from solo_ldm.data.sources.images import Listing

# Folders of previews and of remains that macOS's archives and Synology's servers add.
LITTER = frozenset(("__MACOSX", "@eaDir"))


def check_same_classes(
    train: Sequence[str], val: Sequence[str], where: str = "data.val_path"
) -> None:
    """Raise a ValueError in one line if the classes of the splits differ."""
    if list(train) != list(val):
        only = {
            "train": [name for name in train if name not in set(val)],
            "val": [name for name in val if name not in set(train)],
        }
        found = "; ".join(f"only in {one}: {some(names)}" for one, names in only.items() if names)
        raise ValueError(
            f"{where}: its classes differ from those of data.train_path ({found}); both need the "
            f"same classes"
        )


def labelled(folder: Path, classes: Sequence[str], key: str, below: str = "") -> Listing:
    """Find the images of the class folders `classes` of a folder, labelled in that order.

    Args:
        folder: that holds the class folders.
        classes: their names.
        key: of the configuration, for messages.
        below: the folder inside every class folder where its images are.

    Raises:
        ValueError: a class has no images.
    """
    tree = Tree([folder / label / below for label in classes])
    tree.note_beside(folder)
    found = dict(zip(classes, tree.images, strict=True))
    _check_filled(folder, [label for label, images in found.items() if not images], key)
    labels = [number for number, images in enumerate(found.values()) for _ in images]
    images = [*chain.from_iterable(found.values())]
    return Listing(images, labels, tuple(classes), tree.notices(key))


def unlabelled(folder: Path, key: str) -> Listing:
    """Find all images under a folder, sorted by the parts of their paths."""
    tree = Tree([folder])
    images = tree.images[0]
    return Listing(images, [-1] * len(images), (), tree.notices(key))


def class_folders(folder: Path, key: str) -> list[str]:
    """Return the names of a folder's class folders, sorted; none if its images are unlabelled.

    Args:
        folder: to look into.
        key: of the configuration, for the message.

    Raises:
        ValueError: a class has no images, or images lie beside two or more class folders.
    """
    names, loose = contents(folder)
    filled = [name for name in names if holds_image(folder / name)]
    if len(filled) < 2 and loose:
        return []
    if filled:
        _check_filled(folder, [name for name in names if name not in set(filled)], key)
    if filled and loose:
        raise ValueError(
            f"{folder}: {len(loose)} images (such as {loose[0]}) lie beside {len(filled)} class "
            f"folders; move them into a class, or set data.no_labels=true"
        )
    return filled


def contents(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of a folder's folders and of the images beside them, both sorted.

    Links to a folder above, or to another of the folders, are none of them.
    """
    with os.scandir(folder) as entries:
        is_dir = {one.name: _is_folder(one) for one in entries if not _is_hidden(one.name)}
    links = _links_inside(folder)
    folders = sorted(name for name in is_dir if is_dir[name] and name not in links)
    return folders, sorted(name for name in is_dir if not is_dir[name] and is_image(name))


def _links_inside(folder: Path) -> set[str]:
    """Return the names of links in a folder that lead above it or into another of its folders."""
    with os.scandir(folder) as entries:
        found = [one for one in entries if _is_folder(one) and not _is_hidden(one.name)]
    links = sorted(one.name for one in found if one.is_symlink())
    if not links:
        return set()
    here = os.path.realpath(folder)
    known = [os.path.join(here, one.name) for one in found if not one.is_symlink()]
    inside = set()
    for name in links:
        target = os.path.realpath(folder / name)
        if _is_within(here, target) or any(_is_within(target, other) for other in known):
            inside.add(name)
        else:
            known.append(target)
    return inside


class _Folder(NamedTuple):
    """What a folder holds, hidden names left out, sorted; which of the names are links."""

    folders: list[str]
    files: list[str]
    links: set[str]


class Tree:
    """The images below some folders, each real file once.

    A link is followed unless it leads to a folder above it, or to a folder or file that is found
    without it or by an earlier link, or to nothing.

    Args:
        roots: the folders, which may be links themselves.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._left_out: list[str] = []
        self._litter: list[str] = []
        self._broken: list[str] = []
        self._ignored: Counter[str] = Counter()
        self._closed: list[str] = []
        self._roots = [os.path.realpath(root) for root in roots]
        # The real folders that no link inside the roots leads to.
        self._plain: dict[str, _Folder] = {}
        for root in self._roots:
            self._read(root)
        self._entered: set[str] = set()
        self._linked: set[str] = set()
        self.images = [
            list(self._images(str(root), real))
            for root, real in zip(roots, self._roots, strict=True)
        ]

    def note_beside(self, folder: Path) -> None:
        """Count what lies beside class folders and is ignored."""
        self._left_out += [os.path.join(folder, name) for name in sorted(_links_inside(folder))]
        beside = sorted(os.listdir(folder))
        self._note_ignored(name for name in beside if (folder / name).is_file())
        self._litter += [os.path.join(folder, name) for name in beside if name in LITTER]

    def _note_ignored(self, names: Iterable[str]) -> None:
        """Count files that are no images by their names."""
        for name in names:
            if not name.startswith(".") and not is_image(name):
                self._ignored[os.path.splitext(name)[1].lower() or "without a suffix"] += 1

    def notices(self, key: str) -> tuple[str, ...]:
        """Return a line for each kind of thing that was left out."""
        left_out = (
            (self._left_out, "link", "to folders above them or to what is found without them"),
            (self._broken, "link", "to files that do not exist"),
            (sorted(self._litter), "folder", "which an archiver of macOS or a file server made"),
            (self._closed, "folder", "which cannot be listed (check the permissions)"),
        )
        lines = [
            f"{key}: {_count(names, what)} left out, {why}: {some(names)}"
            for names, what, why in left_out
            if names
        ]
        if self._ignored:
            counts = ", ".join(f"{count} {name}" for name, count in self._ignored.most_common(8))
            more = ", ..." if len(self._ignored) > 8 else ""
            total = _count([*self._ignored.elements()], "file")
            lines.append(f"{key}: {total} ignored, no images by their names: {counts}{more}")
        return tuple(lines)

    def _read(self, root: str) -> None:
        """List a real folder and those below it, no link followed."""
        waiting = [root]
        while waiting:
            if (place := waiting.pop()) not in self._plain:
                found = self._plain[place] = self._list(place)
                waiting += [
                    os.path.join(place, name) for name in found.folders if name not in found.links
                ]

    def _list(self, place: str) -> _Folder:
        found = _Folder([], [], set())
        try:
            with os.scandir(place) as entries:
                for one in entries:
                    if one.name in LITTER:
                        self._litter.append(one.path)
                    elif not _is_hidden(one.name):
                        (found.folders if _is_folder(one) else found.files).append(one.name)
                        if one.is_symlink():
                            found.links.add(one.name)
        except OSError:
            self._closed.append(place)
        found.folders.sort()
        found.files.sort()
        return found

    def _images(self, place: str, real: str, by_link: bool = False) -> Iterator[str]:
        """Yield the images below a folder, its files before its folders."""
        if real in self._entered or (by_link and real in self._plain):
            self._left_out.append(place)
            return
        self._entered.add(real)
        found = self._plain[real] if real in self._plain else self._list(real)
        self._note_ignored(found.files)
        for name in filter(is_image, found.files):
            path, link = os.path.join(place, name), name in found.links
            if link and not os.path.exists(path):
                self._broken.append(path)
            elif (link or by_link) and not self._is_new(path):
                self._left_out.append(path)
            else:
                yield path
        for name in found.folders:
            path, target = os.path.join(place, name), os.path.join(real, name)
            if link := name in found.links:
                target = os.path.realpath(path)
                if any(_is_within(one, target) for one in (real, *self._roots)):
                    self._left_out.append(path)
                    continue
            yield from self._images(path, target, by_link or link)

    def _is_new(self, path: str) -> bool:
        """Whether a file behind a link is found neither without it nor by an earlier one."""
        target = os.path.realpath(path)
        folder, name = os.path.split(target)
        if target in self._linked:
            return False
        self._linked.add(target)
        found = self._plain.get(folder)
        if found is None or name in found.links or not is_image(name):
            return True
        place = bisect_left(found.files, name)
        return found.files[place : place + 1] != [name]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in LITTER


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_image(name: str) -> bool:
    """Whether a file's name ends as an image's does, and is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in image_suffixes()


def holds_image(folder: Path) -> bool:
    """Whether an image is in a folder or below."""
    entered = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if any(map(is_image, files)):
            return True
        new = real not in entered
        folders[:] = sorted(name for name in folders if new and not _is_hidden(name))
        entered.add(real)
    return False


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _check_filled(folder: Path, empty: Sequence[str], key: str) -> None:
    if empty:
        raise ValueError(
            f"{key}: no images in {len(empty)} class folders of {folder} ({some(empty)}); add "
            f"images, or remove the folders (those whose name starts with a dot are ignored)"
        )


def some(names: Sequence[str]) -> str:
    """Return the first three names and the number of the others, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _count(things: Sequence[str], what: str) -> str:
    return f"{len(things)} {what}" + ("" if len(things) == 1 else "s")
