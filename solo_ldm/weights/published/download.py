"""The zoo's files on this machine: from the package, the cache, or one of several mirrors."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from solo_ldm.zoo.manifest import Entry, ZooFile, zoo_folder

# Seconds without a byte after which a server is given up, unless a caller has another patience.
PATIENCE = 30.0
# A transfer that breaks off is continued where it was, that many times for each mirror.
_CONTINUATIONS = 5
_CHUNK = 1 << 18

Progress = Callable[[int, int], None]


class _RefusedError(Exception):
    """Why a mirror does not serve."""


def cache_folder() -> Path:
    """Return where downloads are kept: $SOLO_LDM_CACHE, or the user's cache."""
    own = os.environ.get("SOLO_LDM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own).expanduser() if own else Path(base).expanduser() / "solo_ldm" / "zoo"


def fetch(
    entry: Entry,
    name: str,
    *,
    folder: Path | None = None,
    progress: Progress = lambda done, size: None,
    patience: float = PATIENCE,
) -> Path:
    """Return the path of a published file, downloaded if it is not on this machine yet.

    Nothing is returned whose content is not the published one, to the last bit.

    Args:
        entry: that the file is of.
        name: of the file.
        folder: that holds the manifest; None for the package's.
        progress: called with the bytes that are there and those of the whole file.
        patience: seconds without a byte after which a server is given up.

    Returns:
        The path, in the entry's folder of the package or of the cache.

    Raises:
        ValueError: in one line: a file with another content, or no mirror that serves it.
    """
    file = entry.file(name)
    beside = (folder or zoo_folder()) / "weights" / entry.name / name
    if beside.is_file():
        _check(beside, file, "restore it with git, or install the package anew")
        return beside
    target = _cached(entry, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f"{name}.lock")):
        if target.is_file():
            _check(target, file, "delete it, and it will be fetched again")
            return target
        _download(entry, file, target, progress, patience)
    return target


def _cached(entry: Entry, name: str) -> Path:
    """Return where a file is kept: beside the others that were published with it."""
    together = "".join(sorted(one.sha256 for one in entry.files))
    version = hashlib.sha256(together.encode()).hexdigest()[:16]
    return cache_folder() / entry.name / version / name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(path: Path, file: ZooFile, mend: str) -> None:
    size = path.stat().st_size
    if size != file.size:
        raise ValueError(
            f"{path} is not the published file: expected {file.size} bytes, got {size}; {mend}"
        )
    found = sha256_of(path)
    if found != file.sha256:
        raise ValueError(
            f"{path} is not the published file: expected sha256 {file.sha256}, got {found}; {mend}"
        )


def _download(
    entry: Entry, file: ZooFile, target: Path, progress: Progress, patience: float
) -> None:
    what = f"zoo:{entry.name}, {file.name}"
    if not file.urls:
        raise ValueError(f"{what}: it comes with a checkout of solo_ldm, and is not in this one")
    partial = target.with_name(f"{target.name}.part")
    refusals = []
    for url in file.urls:
        try:
            _transfer(url, file, partial, progress, patience)
        except _RefusedError as refusal:
            refusals.append(f"{url}: {refusal}")
            continue
        os.replace(partial, target)
        return
    raise ValueError(
        f"{what} could not be fetched ({'; '.join(refusals)}); check the connection, or put the "
        f"file at {target}"
    )


def _transfer(url: str, file: ZooFile, partial: Path, progress: Progress, patience: float) -> None:
    """Fetch a URL to `partial`, from where that ends, or raise why it cannot be the file."""
    begun = _size(partial) > 0
    breaks = 0
    while _size(partial) < file.size:
        before = _size(partial)
        try:
            _receive(url, file, partial, progress, patience)
            reason = "the server ends before the file does"
        except urllib.error.HTTPError as error:
            raise _RefusedError(f"the server answers {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        if _size(partial) >= file.size:
            break
        # A server that gives nothing is given up, one that breaks off is asked again.
        breaks += 1
        if _size(partial) == before or breaks > _CONTINUATIONS:
            raise _RefusedError(reason)
        time.sleep(min(2.0, 0.05 * 2**breaks))
    found = sha256_of(partial)
    if _size(partial) == file.size and found == file.sha256:
        return
    partial.unlink()
    if begun:  # what was there may have been of another file
        _transfer(url, file, partial, progress, patience)
        return
    raise _RefusedError(f"another content: expected sha256 {file.sha256}, got {found}")


def _receive(url: str, file: ZooFile, partial: Path, progress: Progress, patience: float) -> None:
    have = _size(partial)
    request = urllib.request.Request(url, headers={"User-Agent": "solo-ldm"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=patience) as response:
        continued = response.status == 206
        offset = have if continued else 0
        length = response.headers.get("Content-Length")
        if length is not None and offset + int(length) != file.size:
            partial.unlink(missing_ok=True)
            raise _RefusedError(
                f"expected {file.size} bytes, the server has {offset + int(length)}"
            )
        with partial.open("ab" if continued else "wb") as stream:
            while block := response.read1(_CHUNK):  # what is there, not a whole chunk
                stream.write(block)
                offset += len(block)
                if offset > file.size:
                    break
                progress(offset, file.size)
    if offset > file.size:
        partial.unlink()
        raise _RefusedError(f"more than the expected {file.size} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def missing(entry: Entry, names: Sequence[str], folder: Path | None = None) -> list[str]:
    """Return which of an entry's files are not on this machine, without checking the others."""
    beside = (folder or zoo_folder()) / "weights" / entry.name
    return [
        name
        for name in names
        if not (beside / name).is_file() and not _cached(entry, name).is_file()
    ]
