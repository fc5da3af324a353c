"""Files: written so that a killed process leaves the old or the new one, checked on reading."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# What the user's umask leaves of a new file's permissions. It can only be read by setting it, which
# is safe while one thread imports. A temporary file would be the owner's alone.
_UMASK = os.umask(0o077)
os.umask(_UMASK)

# Of a run: its results, and the key in it that has the SHA-256 of each file of weights beside it.
_RESULTS, _DIGESTS = "results.json", "weights_sha256"

_AS_TEXT: Any = {"encoding": "utf-8", "errors": "backslashreplace"}


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write` on a temporary path in the same folder, then move the result into place.

    Args:
        path: where the file shall be; its folder is made if needed.
        write: writes the whole file to the path it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_UMASK)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        # An OSError of words alone would lose them; torch's RuntimeError has no file.
        worded = isinstance(error, OSError) and error.errno is None
        if not worded and getattr(error, "filename", None) in (None, name):  # of a full disk
            error.filename = str(path)  # pyright: ignore[reportAttributeAccessIssue]
        raise
    finally:
        temporary.unlink(missing_ok=True)


def user_cache(kind: str) -> Path:
    """Return where files of a kind are kept: $SOLO_LDM_CACHE, or the user's cache."""
    own = os.environ.get("SOLO_LDM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own).expanduser() if own else Path(base).expanduser() / "solo_ldm" / kind


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically; what is none (of a file's name) with backslashes."""
    write_atomically(path, lambda temporary: temporary.write_text(text, **_AS_TEXT))


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table with a header, atomically; numbers that are no integers with six digits."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", **_AS_TEXT) as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            for row in rows:
                writer.writerow([f"{x:.6g}" if isinstance(x, float) else x for x in row])

    write_atomically(path, write)


def check_archive(path: Path) -> None:
    """Compare the contents of a zip archive, such as a torch checkpoint, with its checksums.

    torch does not look at them. A file that is no archive is left to its reader.

    Raises:
        ValueError: in one line: a part of the archive is not what was written.
    """
    with path.open("rb") as stream:
        if stream.read(4) != b"PK\x03\x04":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # of zipfile, zlib or struct, for headers that make no sense
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy") from None
    if damaged is not None:
        raise ValueError(
            f"{path} is damaged: {damaged} does not match its checksum; restore it from a copy"
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def checkpoint_at(path: str | Path) -> Path:
    """Return the checkpoint that a path names: a file, or the last one of a run's folder."""
    path = Path(path).expanduser()
    return path / "checkpoints" / "last.ckpt" if path.is_dir() else path


def weights_written(folder: Path) -> dict[str, dict[str, str]]:
    """Return the entry of a run's results.json by which `check_recorded` knows its weights."""
    files = [*folder.glob("*.safetensors"), *folder.glob("checkpoints/*.ckpt")]
    return {_DIGESTS: {str(file.relative_to(folder)): sha256_of(file) for file in sorted(files)}}


def check_recorded(path: Path) -> None:
    """Compare a file of weights with the digest in the results.json of its run, where there is one.

    Raises:
        ValueError: in one line: the file is not the one that the run wrote.
    """
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    if not (folder / _RESULTS).is_file():
        return
    known = read_json(folder / _RESULTS).get(_DIGESTS)
    expected = known.get(path.relative_to(folder).as_posix()) if isinstance(known, dict) else None
    if expected is not None and (got := sha256_of(path)) != expected:
        raise ValueError(
            f"{path} is not the file that its run wrote: {_RESULTS} expects sha256 {expected}, got "
            f"{got}; restore it from a copy"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return the keys and values of a JSON file.

    Raises:
        ValueError: in one line: another content.
    """
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); restore it or move it") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected keys and values, got a {type(content).__name__}; restore it or "
            "move it"
        )
    return content


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Let what is read from a file of ours be of another shape than we write only in one line.

    Raises:
        ValueError: in one line that names the file: a key that is missing, a value of another type.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        what = " ".join(str(error).split())[:160]
        raise ValueError(
            f"{path} is not as solo-ldm writes it ({type(error).__name__}: {what}); restore it "
            "from a copy"
        ) from error


def escape_unprintable() -> None:
    """Let standard output show what it cannot encode, of a file's name, with backslashes."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and getattr(sys.stdout, "errors", "") != "backslashreplace":
        with suppress(OSError, ValueError):
            reconfigure(errors="backslashreplace")
