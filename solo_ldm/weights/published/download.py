"""Files of published models on this machine: from the package, the cache, a mirror or the hub."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from solo_ldm.files import sha256_of, user_cache
from solo_ldm.weights.published.entry import TRAINING_STATE, Entry, ZooFile
from solo_ldm.weights.published.manifest import zoo_folder


def cache_folder() -> Path:
    """Return where downloads are kept: $SOLO_LDM_CACHE, or the user's cache."""
    return user_cache("zoo")


def fetch(entry: Entry, name: str) -> Path:
    """Return the path of a published file, downloaded if it is not on this machine yet.

    It lies in the entry's folder of the package or of the cache. The SHA-256 of the content is
    compared with the manifest's at every call. An interrupted download is resumed.

    Raises:
        ValueError: in one line: another content than the published one, or no mirror that serves
            the file.
    """
    file = entry.file(name)
    packaged = zoo_folder() / "weights" / entry.name / name
    if packaged.is_file():
        _check(packaged, file, "restore it with git, publish it again or reinstall")
        return packaged
    # Files that were published together are kept together.
    version = hashlib.sha256("".join(sorted(one.sha256 for one in entry.files)).encode())
    target = cache_folder() / entry.name / version.hexdigest()[:16] / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f"{name}.lock")):
        if target.is_file():
            _check(target, file, "delete it, and it will be fetched again")
        else:
            _download(f"zoo:{entry.name}, {name}", file, target)
    return target


def check_files(entry: Entry) -> None:
    """Compare every file of an entry with the manifest's, fetched if it is small.

    A training state is compared only where it is here.

    Raises:
        ValueError: in one line: as `fetch` does.
    """
    for one in entry.files:
        here = zoo_folder() / "weights" / entry.name / one.name
        if one.name != TRAINING_STATE or here.is_file():
            fetch(entry, one.name)


def fetch_from_hub(source: str, name: str) -> Path:
    """Return the path of a file in a repository of the Hugging Face hub, downloaded once.

    A repository holds what `solo-ldm zoo publish` writes into the folder of a model. No hash is
    known: its owner is trusted with the content, but nothing in it is run or unpickled.

    Args:
        source: hf-hub:OWNER/NAME, or hf-hub:OWNER/NAME@REVISION.
        name: of the file.

    Raises:
        ValueError: in one line: no such repository or file, or no connection.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = source.removeprefix("hf-hub:").partition("@")
    try:
        return Path(hf_hub_download(repository, name, revision=revision or None))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ValueError(f"{source}: the hub does not give {name} ({reason(error)})") from None


def reason(error: Exception) -> str:
    """Return the first line of what an error says, or its class where it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep huggingface_hub from logging each retry; its progress bar stays."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)


def _check(path: Path, file: ZooFile, fix: str) -> None:
    size = path.stat().st_size
    expected, got = f"{file.size} bytes", f"{size}"
    if size == file.size:
        expected, got = f"sha256 {file.sha256}", sha256_of(path)
        if got == file.sha256:
            return
    raise ValueError(f"{path} is not the published file: expected {expected}, got {got}; {fix}")


def _download(what: str, file: ZooFile, target: Path) -> None:
    if not file.urls:
        raise ValueError(f"{what}: it comes with a checkout of solo_ldm, and is not in this one")
    partial = target.with_name(f"{target.name}.part")
    refusals = []
    for url in file.urls:
        try:
            _receive(url, file, partial)
        except Exception as error:  # of the network, the server, the library or the disk
            refusals.append(f"{url}: {reason(error)}")
            continue
        partial.replace(target)
        return
    raise ValueError(
        f"{what} could not be fetched ({'; '.join(refusals)}); check the connection, or put the "
        f"file at {target}"
    )


def _receive(url: str, file: ZooFile, partial: Path) -> None:
    """Download to `partial`, from where it ends, and check the content."""
    from huggingface_hub.file_download import http_get

    begun = _size(partial)
    try:
        if begun < file.size:
            with partial.open("ab") as stream, quiet_hub():
                http_get(
                    url,
                    stream,
                    resume_size=begun,
                    expected_size=file.size,
                    displayed_filename=file.name,
                )
        _check(partial, file, "report it to the owner of the server")
    except Exception:
        complete = _size(partial) >= file.size
        if complete:
            partial.unlink()
        # A server that breaks off is asked again; a part may have been of another file.
        if not (begun > 0 if complete else _size(partial) > begun):
            raise
        _receive(url, file, partial)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
