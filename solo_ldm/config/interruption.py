"""Ctrl-C and SIGTERM end a command with one line and the exit codes that shells expect."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal has ended a command.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class _Handler:
    """Raises `Interrupted` at the first signal and ends the process at once at the second."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, number: int, frame: Any) -> None:
        if self.received:
            os._exit(128 + number)
        self.received = True
        raise Interrupted(number)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_installed: list[_Handler] = []


@contextmanager
def interruptible(command: str, arguments: Sequence[str]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end what is done here; say how to go on; a second one ends at once.

    The exit code is 130 or 143. Of the processes of a distributed run the first one speaks.

    Args:
        command: name of the command.
        arguments: of the command.
    """
    handler = _Handler()
    with handlers_kept() as before:
        _installed.append(handler)
        # A signal that is ignored on purpose stays so, as by nohup.
        for number, old in before.items():
            if old is not signal.SIG_IGN:
                signal.signal(number, handler)
        try:
            yield
        except KeyboardInterrupt as error:
            code = error.exit_code if isinstance(error, Interrupted) else 128 + signal.SIGINT
            if os.environ.get("LOCAL_RANK", "0") == "0":
                by = signal.Signals(code - 128).name
                line = shlex.join(["solo-ldm", command, *arguments])
                print(
                    f"\nstopped by {by}; what is saved stays, go on with: {line}", file=sys.stderr
                )
            sys.exit(code)
        finally:
            _installed.remove(handler)


@contextmanager
def handlers_kept() -> Iterator[dict[signal.Signals, Any]]:
    """Yield the handlers of Ctrl-C and SIGTERM, and install them again afterwards.

    Lightning leaves Ctrl-C ignored after the first. Threads besides the main one have no handlers.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = {one: signal.getsignal(one) for one in _SIGNALS} if in_main else {}
    try:
        yield before
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def rearm() -> None:
    """Install the handlers of `interruptible` again, after a library has replaced them."""
    if _installed and threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, _installed[-1])
