"""Errors in one line: those that a user can fix, and those of the machine whose cause is known."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NoReturn

from omegaconf import OmegaConf

from solo_ldm.config.given import part_key
from solo_ldm.config.schema import nearest_key

# Packages of extras, by the extra that holds them.
_EXTRAS = {
    "nvidia": "dali",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "tensorboardX": "tensorboard",
    "umap": "umap",
    "h5py": "neuro",
    "pynwb": "neuro",
    "hdmf": "neuro",
    "lightly": "baselines",
    "solo": "solo-learn",
}

_AGAIN = "then give the same command again"
_DISK = f"no space left on the device; free some, {_AGAIN}"

_OF_SYSTEM = {
    errno.ENOSPC: _DISK,
    errno.EDQUOT: f"the quota of the disk is used up; free some, {_AGAIN}",
    errno.EFBIG: "the file is larger than the limit (ulimit -f); raise it",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; choose another folder, or change its permissions",
    errno.EPERM: "not permitted there; choose another folder",
    errno.ENOENT: "no such file or folder; check the path",
    errno.EISDIR: "expected a file, got a folder; choose another name, or move the folder away",
    errno.ENOTDIR: "expected a folder, got a file on the way; choose another folder",
    errno.EEXIST: "there is a file in the way; choose another folder, or move it away",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
    errno.ELOOP: "the links lead in a circle; check the path",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n), or set data.num_workers=0",
    errno.ENOMEM: "out of memory; use smaller batches",
}

# What the messages of a RuntimeError, or of an error of a library, contain, and what to do.
_OF_LIBRARIES = (
    (r"(?i)\bout of memory|can't allocate memory|not enough memory|Unable to allocate",
     "out of memory; use smaller batches (optimizer.batch_size or batch_size; in pretraining "
     "accumulate_grad_batches with statistics=whole keeps the loss), a smaller network, or another "
     "device (accelerator=cpu)"),
    (r"DataLoader worker .*(killed|exited)|unable to (open|mmap|allocate) shared memory",
     "a process that loads images ended, often because shared memory ran out; set "
     "data.num_workers=0"),
    (r"file write failed|failed writing file|StorageFull|unexpected pos", _DISK),
    (r"(?i)\bgloo\b|\bNCCL\b|ProcessGroup|DistNetworkError|client socket|server socket",
     "another process of the run ended or cannot be reached ({line}); the same command continues"),
    (r"(?i)/dali|\bdali\b|nvjpeg", "DALI: {line}; data.format=torchvision reads without it"),
    (r"CUDA error|cuDNN|NVIDIA driver|cudaGet", "{line}; accelerator=cpu computes without a GPU"),
)  # fmt: skip


class Left(SystemExit):
    """The end of a command with an error that was printed in one line.

    Args:
        message: the line.
        code: of the exit.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(code)
        self.message = message


def leave(message: str, code: int = 2) -> NoReturn:
    """Print an error and leave."""
    if len(message) > 1000:  # a value that was pasted by mistake
        message = f"{message[:700]} … {message[-200:]}"
    print(f"error: {message}", file=sys.stderr)
    raise Left(message, code)


class Parser(argparse.ArgumentParser):
    """Arguments of a command without keys, whose errors are one line without the usage."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message."""
        leave(f"{message}; {self.prog} --help says more")


@contextmanager
def one_line_errors(
    schema: Callable[[], type] | None = None,
    explained: Callable[[BaseException], str | None] = lambda error: None,
) -> Iterator[None]:
    """Turn errors of known causes into one line, by `explained` or else `one_line`.

    The exit code is 2 for what a user can fix in the command or its files, 1 for what the machine
    lacks. Errors of unknown cause pass; with SOLO_LDM_DEBUG=1 all do.

    Args:
        schema: gives the dataclass of the keys that an unknown key is compared with.
        explained: returns the line of an error that it knows.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokenPipeError):  # the reader of a pipe, such as head, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        line, fixable = _told(error, schema, explained)
        if line is None or os.environ.get("SOLO_LDM_DEBUG"):
            raise
        leave(line, 2 if fixable else 1)


@contextmanager
def one_line_exceptions(
    schema: Callable[[], type] | None = None,
    explained: Callable[[BaseException], str | None] = lambda error: None,
) -> Iterator[None]:
    """Raise errors of known causes anew, with the line that `one_line_errors` prints.

    What a user can fix is a ValueError or FileNotFoundError, what the machine lacks an OSError or
    RuntimeError.

    Args:
        schema: gives the dataclass of the keys that an unknown key is compared with.
        explained: returns the line of an error that it knows.
    """
    try:
        yield
    except Exception as error:
        line, fixable = _told(error, schema, explained)
        if line is None or os.environ.get("SOLO_LDM_DEBUG"):
            raise
        kinds = (FileNotFoundError, ValueError) if fixable else (OSError, ImportError, RuntimeError)
        kind = next((one for one in kinds if isinstance(error, one)), kinds[-1])
        raise kind(line) from None


def _told(
    error: Exception,
    schema: Callable[[], type] | None,
    explained: Callable[[BaseException], str | None],
) -> tuple[str | None, bool]:
    """Return the line of an error, None where its cause is not known; and who can fix it."""
    line = explained(error)
    fixable = line is not None or _fixable(error)
    return line or (one_line(error, schema) if fixable else _of_the_machine(error)), fixable


@contextmanager
def printing() -> Iterator[None]:
    """Let what cannot be printed end a command that does nothing but print."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno is not None:
            error.filename = error.filename or "standard output"
        raise


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Show warnings of this package without a path and a line of code, for a command's user."""
    before, package = warnings.formatwarning, os.path.dirname(os.path.dirname(__file__))

    def formatted(message: Any, category: Any, filename: str, *place: Any) -> str:
        if filename.startswith(package):
            return f"warning: {message}\n"
        return before(message, category, filename, *place)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = before


def one_line(error: BaseException, schema: Callable[[], type] | None = None) -> str:
    """Say in one line what an error says in several.

    An error from a loader's worker process arrives with its trace as text; its last line is the
    message. Hydra's errors list choices on lines of their own.

    Args:
        error: what was raised.
        schema: gives the dataclass of the keys that an unknown key is compared with.
    """
    known = _of_the_machine(error)
    if known is not None:
        return known
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1]
        return text.partition(": ")[2] or text
    override = re.search(r"Could not override '([^']+)'", text)
    if override:
        key = override.group(1)
        group = re.search(r"No match in the defaults list\.?\s.*use \+\S+?=(\S+)", text)
        if group:
            part = part_key(key, group.group(1), schema()) if schema else ""
            return f"{key}: expected no choice of a configuration, got {group.group(1)}{part}"
        return f"unknown key {key}{nearest_key(key, schema()) if schema else ''}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines) if lines else type(error).__name__


def check_extras(cfg: Any) -> None:
    """Raise a one-line ValueError for a logger whose package is not installed."""
    for key, packages in {
        "wandb": ["wandb"],
        "tensorboard": ["tensorboard", "tensorboardX"],
    }.items():
        if OmegaConf.select(cfg, f"{key}.enabled") and not any(map(find_spec, packages)):
            raise ValueError(
                f'{key}.enabled=true: {key} is not installed; pip install "solo-ldm[{key}]"'
            )


def of_system(error: OSError) -> str:
    """Say what the system refused, and what to do."""
    known = _OF_SYSTEM.get(error.errno or 0)
    return known or str(error.strerror or error).partition("\n")[0]


def _fixable(error: BaseException) -> bool:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    kinds = (HydraException, OmegaConfBaseException, YAMLError, ValueError, FileNotFoundError)
    return isinstance(error, kinds)


def _of_the_machine(error: BaseException) -> str | None:
    """Return the line of an error whose cause is the machine; None for any other."""
    text = str(error).strip()
    if isinstance(error, ImportError):
        extra = _EXTRAS.get((error.name or _requirement(text)).partition(".")[0])
        return extra and f'{text.partition(". ")[0]}: pip install "solo-ldm[{extra}]"'
    path = getattr(error, "filename2", None) or getattr(error, "filename", None)  # of a copy's
    named = f"{path}: " if path else ""
    if isinstance(error, OSError) and error.errno in _OF_SYSTEM:
        return named + of_system(error)
    classes = {one.__name__ for one in type(error).__mro__}
    if classes & {"RuntimeError", "MemoryError", "SafetensorError"}:
        lines = [line.strip() for line in text.splitlines() if line.strip()] or ["out of memory"]
        for pattern, remedy in _OF_LIBRARIES:
            if re.search(pattern, "\n".join(lines)):
                told = lines[-1] if "Original Traceback" in text else lines[0]
                return named + remedy.replace("{line}", told[:200])
    if "MisconfigurationException" in classes:
        return " ".join(text.split())
    if isinstance(error, OSError) and not _fixable(error):
        half = re.search(r"requested and \d+ written", text)  # numpy's word for a full disk
        return named + _DISK if half else " ".join(text.split()) or type(error).__name__
    return None


def _requirement(text: str) -> str:
    """Return the package that Lightning's message names: Requirement 'wandb>=0.12.10' not met."""
    found = re.search(r"'(\w+)[^']*'", text)
    return found.group(1) if found else ""
