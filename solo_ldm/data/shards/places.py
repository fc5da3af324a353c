"""The files that a folder, a pattern or a path names, and the splits among them."""

from __future__ import annotations

import glob
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from solo_ldm.data.sources.folders import some

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Words for a split in the names of files and folders, as Hugging Face takes them.
_WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing", "eval", "evaluation"),
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(_SPLITS, key=len, reverse=True))})(?![a-z])")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"(\d+)\.\.(\d+)")


def files_of(place: str, key: str, suffixes: Sequence[str], val: bool = False) -> list[Path]:
    """Return the files that a place names, in the order of a pattern or of their names.

    Args:
        place: a folder, a file, or a pattern: {0000..0003} and {a,b} name files that must all be
            there, * and ? those that are.
        key: of the configuration, for messages.
        suffixes: of the files of a folder.
        val: whether validation files are meant, where a folder holds several splits.

    Raises:
        FileNotFoundError: there is no such file, or one that the pattern names is missing.
        ValueError: in one line: a remote place, or a folder whose splits cannot be told.
    """
    path = Path(os.path.expanduser(place))
    if path.is_dir():
        return _of_split(path, key, suffixes, val)
    if path.exists():
        return [path]
    if _REMOTE.match(place):
        raise ValueError(f"{key}: expected files of this machine, got {place}; fetch them first")
    names = expand(str(path))
    found = [
        glob.glob(name) if glob.has_magic(name) and not _is_file(name) else [name] for name in names
    ]
    missing = [
        name for name, ones in zip(names, found, strict=True) if not any(map(_is_file, ones))
    ]
    if missing:
        gone = f"of which {len(missing)} of {len(names)} files are missing ({some(missing)})"
        gone = gone if len(names) > 1 else "which does not exist"
        raise FileNotFoundError(
            f"{key}: expected a folder, a file ({readable(suffixes)}) or a pattern of files, such "
            f"as train-{{0000..0003}}{suffixes[0]}, got {place}, {gone}"
        )
    return [Path(name) for ones in found for name in sorted(ones)]


def expand(pattern: str) -> list[str]:
    """Return the names that {0000..0003} and {a,b} of a pattern stand for, as in a shell."""
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    numbers = _NUMBERS.fullmatch(braces[1])
    if numbers is None:
        options = braces[1].split(",")
    else:
        first, last = numbers.groups()
        padded = any(one.startswith("0") and len(one) > 1 for one in (first, last))
        width = max(len(first), len(last)) if padded else 1
        step = 1 if int(last) >= int(first) else -1
        options = [f"{n:0{width}}" for n in range(int(first), int(last) + step, step)]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    names = (name for one in options for name in expand(f"{before}{one}{after}"))
    return [*dict.fromkeys(names)]


def pattern_of(places: Sequence[str], key: str) -> str:
    """Return one pattern of files, or of patterns, in their order: a-{0000..0146} or {a,b}.

    Raises:
        ValueError: in one line: a file twice, or a name with a comma or a brace.
    """
    names = [name for place in places for name in expand(place)]
    if len(names) == 1:
        return names[0]
    start = os.path.commonprefix(names)  # noqa: RUF071
    rests = [name[len(start) :] for name in names]
    end = os.path.commonprefix([rest[::-1] for rest in rests])[::-1]  # noqa: RUF071
    middles = [rest[: len(rest) - len(end)] for rest in rests]
    inside = ",".join(middles)
    if all(middle.isdecimal() for middle in middles):
        run = f"{middles[0]}..{middles[-1]}"
        inside = run if expand(f"{{{run}}}") == middles else inside
    pattern = f"{start}{{{inside}}}{end}"
    if expand(pattern) != names:
        raise ValueError(
            f"{key}: expected each shard once, with no comma or brace in its name, got "
            f"{some(names)}; leave one out or rename it"
        )
    return pattern


def readable(suffixes: Sequence[str]) -> str:
    """List suffixes of files that can be read: compressed tars are found to be refused."""
    return ", ".join(one for one in suffixes if not one.endswith("gz"))


def has_validation(place: str | None, suffixes: Sequence[str]) -> bool:
    """Whether a place is a folder of several splits, one of which is for validation."""
    path = Path(os.path.expanduser(place or ""))
    splits = _splits(path, suffixes) if place and path.is_dir() else {}
    return len(splits) > 1 and not splits.keys().isdisjoint((VALIDATION, TEST))


def split_of(place: str, suffixes: Sequence[str]) -> str:
    """Return the name of the split that `files_of` takes from a folder for validation."""
    return _validation(_splits(Path(os.path.expanduser(place)), suffixes))


def _validation(splits: dict[str, list[Path]]) -> str:
    return VALIDATION if VALIDATION in splits else TEST


def _of_split(folder: Path, key: str, suffixes: Sequence[str], val: bool) -> list[Path]:
    splits = _splits(folder, suffixes)
    wanted = _validation(splits) if val else TRAIN
    if not any(splits.values()):
        raise FileNotFoundError(f"{key}: expected files {readable(suffixes)}, got none in {folder}")
    if len(splits) == 1:
        (files,) = splits.values()
    elif wanted not in splits or "" in splits:
        named = ", ".join(f"{name or 'no split'}: {ones[0].name}" for name, ones in splits.items())
        raise ValueError(
            f"{key}: expected files of the split {wanted} in {folder}, got {named}; give the path "
            f"or a pattern of the files that are meant"
        )
    else:
        files = splits[wanted]
    folders = sorted({str(one.parent) for one in files})
    if len(folders) > 1:
        raise ValueError(
            f"{key}: expected files of one folder in {folder}, got those of {some(folders)}; give "
            f"one of them, or a pattern"
        )
    return files


def _splits(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Return the files of each split of a folder; those of no split under an empty name."""
    saved = folder / "dataset_dict.json"
    if ".arrow" in suffixes and saved.is_file():  # datasets.DatasetDict.save_to_disk
        names = json.loads(saved.read_text())["splits"]
        return {_SPLITS.get(name) or name: _saved(folder / name) for name in names}
    if ".arrow" in suffixes and (folder / "state.json").is_file():
        return {"": _saved(folder)}
    found = defaultdict(list)
    for place, name in files_below(folder):
        if name.endswith(tuple(suffixes)):
            path = Path(place, name)
            words = _WORD.findall(str(path.relative_to(folder)).lower())
            found[_SPLITS[words[-1]] if words else ""].append(path)
    return dict(found)


def files_below(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield folder and name of the files in a folder and below, in order; hidden ones left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from ((place, name) for name in sorted(files) if not name.startswith("."))


def _saved(folder: Path) -> list[Path]:
    """Return the files that datasets.Dataset.save_to_disk has written, in order."""
    state = folder / "state.json"
    if not state.is_file():
        raise FileNotFoundError(f"{state} is missing, which dataset_dict.json names; save it again")
    content = json.loads(state.read_text())
    if content.get("_indices_data_files"):
        raise ValueError(
            f"{folder}: expected rows in their order, got a selection of them "
            "(_indices_data_files); save it again after .flatten_indices()"
        )
    files = [folder / one["filename"] for one in content["_data_files"]]
    if missing := [str(one) for one in files if not one.is_file()]:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(files)} files of {state} are missing ({some(missing)}); "
            f"copy them as well"
        )
    return files


def _is_file(name: str) -> bool:
    return os.path.isfile(name)
