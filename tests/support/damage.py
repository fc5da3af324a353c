"""Files as disks, transfers and mistakes leave them, and what a reader makes of them."""

from __future__ import annotations

import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What is read of a damaged file, where it is not refused.
Read = Callable[[Path], Any]

_OTHERS = {
    "empty": b"",
    "text": b"what is this\n",
    "a list": b"[1, 2]",
    "a number": b"7",
    "keys": b'{"a": {"b": 1}}',
    "no text": bytes(range(256)),
    "a pickle": pickle.dumps({"counts": [1], "state_dict": {}}),
    "an archive": b"PK\x03\x04" + bytes(60),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(600),
    "a MATLAB file": b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + bytes(64),
    "deep": b"[" * 100_000,
}


def damages(content: bytes, generator: random.Random, flips: int) -> Iterator[tuple[str, bytes]]:
    """Yield what a file may have become, and in words how."""
    yield from _OTHERS.items()
    size = len(content)
    for cut in (1, size // 10, size // 2, size - size // 10, size - 1):
        yield f"cut after {cut} bytes", content[:cut]
    for start, stop in ((0, size), (size // 3, size // 2), (size // 2, size)):
        yield (
            f"zeros from {start} to {stop}",
            content[:start] + bytes(stop - start) + content[stop:],
        )
    yield "twice", content * 2
    for number in range(flips):
        # The beginning holds what describes the rest.
        place = generator.randrange(size if number % 2 else min(size, 400))
        flipped = content[place] ^ 1 << generator.randrange(8)
        yield f"flip at {place}", content[:place] + bytes([flipped]) + content[place + 1 :]


def faults(
    path: Path,
    read: Read,
    seed: int,
    count: int | None = None,
    flips: int = 8,
    same: Callable[[Any], bool] = lambda found: True,
) -> list[str]:
    """Damage a file in many ways, read it each time, and return what went wrong.

    Right is an error of one line that a command prints, or a content that is good.

    Args:
        path: of a good file; it is good again afterwards.
        read: the reader.
        seed: of the damages.
        count: of the damages, drawn of all; None for all.
        flips: flipped bits among all.
        same: whether what was read is good.
    """
    content, generator = path.read_bytes(), random.Random(seed)
    every = [one for one in damages(content, generator, flips) if one[1] != content]
    drawn = every if count is None else generator.sample(every, count)
    found = []
    for how, damaged in drawn:
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if not same(read(path)):
                    found.append(f"{how}: read as something else")
        except (ValueError, FileNotFoundError) as error:
            if "\n" in str(error).strip() or not str(error).strip():
                found.append(f"{how}: {error!r}")
        except Exception as error:
            found.append(f"{how}: {type(error).__name__}: {error}")
        finally:
            path.write_bytes(content)
    return found
