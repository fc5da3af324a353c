"""Tar shards as the webdataset library writes them: NAME.jpg, NAME.cls, one after another."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from solo_ldm.data.shards.index import Index, counted, kept, line_of
from solo_ldm.data.sources.folders import LITTER, is_image
from solo_ldm.data.sources.parts import Parts

SUFFIXES = (".tar", ".tar.gz", ".tgz")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
# Where labels are looked for, in this order: members of these extensions, .json with these fields.
_LABELS, _FIELDS = ("cls", "json", "txt"), ("label", "cls")
_BLOCK = 512
# Members with labels have no more bytes, and shards of fewer bytes are read anew each time.
_LONGEST, _LARGE = 1 << 20, 16 << 20
# Shards that are read at a time: it is the disk or the network that is waited for.
_THREADS = 8


class Shard(NamedTuple):
    """The images of a shard.

    Args:
        images: name, offset and size of each.
        labels: by where they were found, that of each image, None where it has none.
        several: extensions of images that are of one sample, so that it is unclear which is meant.
        repeated: the number of members with the name of an earlier one, which they replace.
        others: the number of members that are no images, by suffix.
        damage: why it could not be read to its end.
    """

    images: list[tuple[str, int, int]]
    labels: dict[str, list[Any]]
    several: dict[str, int]
    repeated: int
    others: dict[str, int]
    damage: str


def index_tars(
    files: Sequence[Path], key: str, image_key: str | None, label_key: str | None, labelled: bool
) -> Index:
    """Find the images of tar shards, and their labels.

    The name of a sample is that of its members up to the first dot, the rest their extension. An
    image is any member that is one by its name; its label is in the member of the same name, or
    sample, with the extension cls, else in the field label or cls of json, else in txt if texts
    repeat, so that they are no captions.

    Args:
        files: the shards.
        key: of the configuration, for messages.
        image_key: extension of the images, or a pattern of such; None for one image a sample.
        label_key: extension of the labels, or a field of json; None to look for them.
        labelled: whether labels are read.

    Raises:
        ValueError: in one line: compressed shards, no image, several of one sample, or no labels
            where `label_key` says.
    """
    about = (image_key, label_key, labelled)
    with ThreadPoolExecutor(_THREADS) as threads:
        shards = [*threads.map(lambda path: _read(path, about), files)]
    count = sum(len(one.images) for one in shards)
    others, several = Counter[str](), Counter[str]()
    for one in shards:
        others.update(one.others)
        several.update(one.several)
    if several:
        names = ", ".join(name for name, _ in several.most_common(5))
        raise ValueError(
            f"{key}: expected one image a sample (names are compared up to the first dot), got "
            f"several: {names}; set data.image_key={several.most_common(1)[0][0]} for one of them, "
            f"or data.image_key='*' to take each for an image of its own"
        )
    if not count:
        ends = [f"{path}: {one.damage}" for path, one in zip(files, shards, strict=True)]
        reason = ends[0] if shards[0].damage else f"they hold {_listed(others) or 'nothing'}"
        raise ValueError(
            f"{key}: expected images in {len(files)} tar shards, got none"
            + (f" with the extension {image_key} (data.image_key)" if image_key else "")
            + f"; {reason}"
        )
    labels, kind, told = _labels(shards, key, label_key) if labelled else (None, "", [])
    notices = [*_notices(files, shards, key), *told]
    others.pop(f".{kind.rpartition('.')[2]}", None)
    if held := _listed(others):
        hint = "" if kind or label_key or not labelled else " (data.label_key=EXTENSION of labels)"
        notices.append(f"{key}: members of the shards that are no images: {held}{hint}")
    rows = [
        (number, offset, size, name)
        for number, one in enumerate(shards)
        for name, offset, size in one.images
    ]
    guessed = f".{kind} members" if label_key is None and kind != "cls" else ""
    return Index(Parts.of([*map(str, files)], rows), labels, None, tuple(notices), guessed)


def _listed(others: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in others.most_common(8))


def _notices(files: Sequence[Path], shards: Sequence[Shard], key: str) -> Iterator[str]:
    """Yield a line for each kind of thing that is wrong with shards."""
    pairs = [*zip(map(str, files), shards, strict=True)]
    damaged = [
        f"{path}: {one.damage}, {len(one.images)} images used" for path, one in pairs if one.damage
    ]
    if damaged:
        yield f"{key}: {counted(damaged, len(files), 'shards are damaged from there on')}"
    empty = [path for path, one in pairs if not one.images and not one.damage]
    if empty:
        yield f"{key}: {counted(empty, len(files), 'shards hold no image')}"
    if repeated := sum(one.repeated for one in shards):
        yield f"{key}: {repeated} members of shards are replaced by later ones of the same name"


def _labels(
    shards: Sequence[Shard], key: str, label_key: str | None
) -> tuple[list[Any] | None, str, list[str]]:
    """Return the label of each image, where they were, and a line for each thing guessed."""
    kinds = dict.fromkeys(kind for one in shards for kind in one.labels)
    found = {kind: _joined(shards, kind) for kind in kinds}
    found = {kind: values for kind, values in found.items() if any(v is not None for v in values)}
    if label_key is not None and not found:
        raise ValueError(
            f"data.label_key: expected an extension of members of the shards, or a field of their "
            f".json, got {label_key}, which {key} does not have"
        )
    told = []
    texts = {one for one in found.get("txt", ()) if one is not None}
    if "txt" in found and label_key is None and len(texts) > sum(map(bool, found["txt"])) / 2:
        del found["txt"]
        if not found:
            told.append(
                f"{key}: unlabelled, as {len(texts)} texts of .txt members are taken for captions; "
                "data.label_key=txt takes them for labels"
            )
    for kind in _LABELS if label_key is None else found:
        if kind not in found:
            continue
        values = found[kind]
        if lacking := values.count(None):
            told.append(f"{key}: {lacking} of {len(values)} images have no label in .{kind}")
        return values, kind, told
    return None, "", told


def _joined(shards: Sequence[Shard], kind: str) -> list[Any]:
    lists = (one.labels.get(kind) or [None] * len(one.images) for one in shards)
    return [value for values in lists for value in values]


def _read(path: Path, about: tuple[str | None, str | None, bool]) -> Shard:
    """Return what a shard holds; of a large one from the cache, where it was read before."""

    def write(target: Path) -> None:
        target.write_text(json.dumps(_scan(path, *about)._asdict()))

    with suppress(OSError):  # of the cache, or of the shard, which is then named
        if path.stat().st_size >= _LARGE:
            return Shard(**json.loads(kept(path, about, ".json", write).read_text()))
    return _scan(path, *about)


def _scan(path: Path, image_key: str | None, label_key: str | None, labelled: bool) -> Shard:
    """Read the headers of a shard's members, and the labels between them."""
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, dict[str, Any]] = {kind: {} for kind in _kinds(label_key)}
    beside, others, repeated, damage = set[str](), Counter[str](), 0, ""
    try:
        with open(path, "rb") as file:
            for name, offset, size in _members(path, file):
                base = os.path.basename(name)
                if size < 0:
                    others["links"] += 1
                    continue
                if base.startswith(".") or not LITTER.isdisjoint(name.split("/")):
                    continue
                if is_image(base):
                    if image_key is None or fnmatchcase(base.partition(".")[2], image_key):
                        repeated += name in images
                        images[name] = offset, size
                    continue
                others[os.path.splitext(base)[1] or "without a suffix"] += 1
                beside.add(_stem(name))
                kind = _kind(base, label_key)
                if labelled and kind and size <= _LONGEST:
                    file.seek(offset)
                    value = _label(file.read(size), kind, label_key)
                    labels[kind][name[: -len(kind) - 1]] = value
    except (OSError, tarfile.TarError) as error:
        damage = line_of(error)
    return Shard(
        [(name, *where) for name, where in images.items()],
        {
            kind: [ones.get(_stem(name), ones.get(_sample(name))) for name in images]
            for kind, ones in labels.items()
            if ones
        },
        _several(images, beside) if image_key is None else {},
        repeated,
        others,
        damage,
    )


def _several(images: Iterable[str], beside: set[str]) -> dict[str, int]:
    """Count the extensions of images of one sample, but for names with dots that have members."""
    samples, stems = Counter(map(_sample, images)), Counter(map(_stem, images))
    return Counter(
        os.path.basename(name).partition(".")[2]
        for name in images
        if samples[_sample(name)] > 1 and (_stem(name) not in beside or stems[_stem(name)] > 1)
    )


def _members(path: Path, file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of the files in a tar, size -1 of a link.

    Raises:
        tarfile.TarError: damage, after the members before it.
        ValueError: in one line: it is compressed.
    """
    head = file.read(_BLOCK)
    for magic, how in _COMPRESSED.items():
        if head.startswith(magic):
            raise ValueError(
                f"{path}: expected a tar file without compression, whose images can be read in any "
                f"order, got {how}; unpack it (images are compressed in themselves)"
            )
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    tar: Any = tarfile.TarFile(fileobj=file)
    while (info := tar.next()) is not None:
        tar.members.clear()
        if info.isreg() and info.type != tarfile.GNUTYPE_SPARSE:
            if info.offset_data + info.size > end:
                raise tarfile.ReadError("it ends within a member")
            yield re.sub(r"^(\./)+", "", info.name), info.offset_data, info.size
        elif not info.isdir():
            yield info.name, info.offset_data, -1
    file.seek(tar.offset)
    # Where a header is none, or there is none, tarfile takes it for the end.
    if not (last := file.read(_BLOCK)):
        raise tarfile.ReadError("it has no end, as if it was cut off")
    if last.strip(b"\0"):
        raise tarfile.ReadError("a damaged header")
    if file.read(2**20).strip(b"\0"):
        raise tarfile.ReadError("something follows its end, as of tars joined by cat, not tar -A")


def _sample(name: str) -> str:
    folder, base = os.path.split(name)
    return os.path.join(folder, base.partition(".")[0])


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _kinds(label_key: str | None) -> tuple[str, ...]:
    return _LABELS if label_key is None else (label_key, "json")


def _kind(base: str, label_key: str | None) -> str | None:
    """Return where the label of a member would be: its extension, of those that are looked at."""
    return next((kind for kind in _kinds(label_key) if base.endswith(f".{kind}")), None)


def _label(content: bytes, kind: str, label_key: str | None) -> Any:
    """Return the label that a member holds: a whole number or a text, None for none."""
    text = content.decode("utf-8", errors="replace").strip()
    if kind != "json" or label_key == "json":
        return text or None
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    wanted = _FIELDS if label_key is None else (label_key,)
    values = [fields[one] for one in wanted if one in fields] if isinstance(fields, dict) else []
    return values[0] if values and isinstance(values[0], (int, str)) else None
