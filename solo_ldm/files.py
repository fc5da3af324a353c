"""Files: written so that a killed process leaves the old or the new one, checked on reading."""

from __future__ import annotations

import csv
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# What the user's umask leaves of a new file's permissions. It can only be read by setting it, which
# is safe while one thread imports. A temporary file would be the owner's alone.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


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
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text))


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table with a header, atomically; numbers that are no integers with six digits."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as stream:
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
