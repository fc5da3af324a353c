"""Memory that a CPU trains in: kept from one step to the next."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Options of mallopt, in glibc's malloc.h: up to which size freed memory is kept, and how much.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT = {_MMAP_THRESHOLD: 2**28, _TRIM_THRESHOLD: 2**31 - 1}
# What a program comes to by itself when it allocates tensors.
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep what a training step frees for the next one, where it is glibc.

    Else the memory of a step's activations goes back to the system after each step, and is cleared
    and mapped again in the next: a few percent of a step. What is computed stays the same. At the
    end all that is free goes back.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)

    def choose(options: dict[int, int]) -> None:
        for option, value in options.items():
            library.mallopt(option, value)

    choose(_KEPT)
    try:
        yield
    finally:
        choose(_USUAL)
        library.malloc_trim(0)
