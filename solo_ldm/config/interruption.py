"""Signals end a command with one line and the exit codes that shells expect, or requeue its job."""

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
    """Raises `Interrupted` at the first signal and ends the process at once at the second.

    SIGUSR1 requeues a job of Slurm's, which goes on until Slurm ends it.
    """

    def __init__(self) -> None:
        self.received, self.process = False, os.getpid()

    def __call__(self, number: int, frame: Any) -> None:
        if number == _PREEMPTION and self._requeues():
            return
        if self.received:
            os._exit(128 + number)
        self.received = True
        raise Interrupted(number)

    def _requeues(self) -> bool:
        """Let Slurm start the job again, if this is one that it may."""
        import subprocess

        job = os.environ.get("SLURM_JOB_ID")
        if job is None or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
            return False
        # Slurm tells every process, also those that load data.
        if is_first_process() and os.getpid() == self.process:
            if "SLURM_ARRAY_JOB_ID" in os.environ:
                job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
            _say(f"SIGUSR1: scontrol requeue {job}")
            try:
                subprocess.run(["scontrol", "requeue", job], check=False)  # says why it does not
            except OSError as error:
                _say(f"the job is not requeued: {error}")
        return True


def _say(line: str) -> None:
    os.write(2, f"\n{line}\n".encode())  # in a handler, a print may be in the middle of another


# Of what is about to be ended from outside, such as a job at its time limit; not on Windows.
_PREEMPTION = getattr(signal, "SIGUSR1", None)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([_PREEMPTION] if _PREEMPTION else []))
# What torchrun and srun tell each process of a run, on one machine or on several.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Return whether no launcher says that another process of the run comes first."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


_installed: list[_Handler] = []


@contextmanager
def interruptible(command: str, arguments: Sequence[str]) -> Iterator[None]:
    """Let signals end what is done here; say how to go on; a second one ends at once.

    They are Ctrl-C, SIGTERM and SIGUSR1; the exit code is 130, 143 or 138. Of the processes of a
    distributed run the first one speaks.

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
            if is_first_process():
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
    """Yield the handlers of these signals, and install them again afterwards.

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
