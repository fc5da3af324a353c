"""Child processes that start in a fraction of a second, with torch and Lightning imported."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only

from solo_ldm.run.callbacks.finite import StopAtNonFinite
from tests.support.yamls import parse_once

# Each pytest process has one server, which imports these once and forks a child at each call.
# DALI is not among them: its threads do not survive a fork.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "solo_ldm.commands.pretrain.run",
        "solo_ldm.commands.linear.run",
        "predictive.commands.predictive.run",
        "sklearn.datasets",
    ]
)
_SECONDS = 300.0


@atexit.register
def _stop_server() -> None:
    forkserver._forkserver._stop()


class Ended(NamedTuple):
    """The exit code of a child, negative for a signal, and what it printed."""

    code: int | None
    printed: str


def run_children(
    function: Callable[..., None],
    *arguments: Any,
    environments: Sequence[Mapping[str, str]] = ({},),
    wait_for_all: bool = False,
) -> list[Ended]:
    """Call a function of a module in a child for each environment, until all or one that fails end.

    With `wait_for_all` those that remain are waited for. A child has the environment and the
    working directory of this process, with its own additions.
    """
    method = multiprocessing.get_start_method()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(len(environments))]
        children = [
            _CONTEXT.Process(
                target=_enter,
                args=(path, method, {**os.environ, **environment}, function, arguments),
            )
            for path, environment in zip(paths, environments, strict=True)
        ]
        for child in children:
            child.start()
        end = time.monotonic() + _SECONDS
        while wait_for_all or all(child.exitcode in (None, 0) for child in children):
            running = [child.sentinel for child in children if child.exitcode is None]
            if not running or not wait(running, timeout=end - time.monotonic()):
                break
        for child in children:
            child.kill()  # nothing, for one that has ended
            child.join()
        return [
            Ended(child.exitcode, path.read_text())
            for child, path in zip(children, paths, strict=True)
        ]


def run_child(function: Callable[..., None], *arguments: Any, **environment: str) -> Ended:
    """Call a function of a module in a child."""
    return run_children(function, *arguments, environments=[environment])[0]


def launch(
    count: int, function: Callable[..., None], *arguments: Any, srun: bool = False
) -> list[str]:
    """Call a function in processes that find each other, as torchrun does, or Slurm's srun.

    Returns:
        What each printed.
    """
    environments = (_as_srun if srun else _together)(count)
    ended = run_children(function, *arguments, environments=environments)
    assert [one.code for one in ended] == [0] * count, ended
    return [one.printed for one in ended]


def launch_until_all_end(count: int, function: Callable[..., None], *arguments: Any) -> list[Ended]:
    """Call a function in processes that find each other, some of which fail."""
    return run_children(function, *arguments, environments=_together(count), wait_for_all=True)


def _together(count: int) -> list[dict[str, str]]:
    shared = {
        "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "NODE_RANK": "0",
    }
    return [{**shared, "LOCAL_RANK": str(rank), "RANK": str(rank)} for rank in range(count)]


def _as_srun(count: int) -> list[dict[str, str]]:
    """As in `srun --nodes=1 --ntasks-per-node=COUNT`."""
    shared = {
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NAME": "train",
        "SLURM_STEP_ID": "0",
        "SLURM_NODELIST": "localhost",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS": str(count),
        "SLURM_NTASKS_PER_NODE": str(count),
        "SLURM_NODEID": "0",
        "MASTER_PORT": str(_free_port()),  # else Lightning makes one of the job's number
    }
    ranks = map(str, range(count))
    return [{**shared, "SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ranks]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_at(step: int, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """Call a function that trains, in a child that is killed (SIGKILL) after a step."""
    ended = run_child(_train_until, step, function, arguments, keywords)
    assert ended.code == -signal.SIGKILL, ended.printed


def _enter(
    path: Path,
    method: str,
    environment: Mapping[str, str],
    function: Callable[..., None],
    arguments: Sequence[Any],
) -> None:
    # A child's own children would else be the server's, and not notice that it was killed.
    multiprocessing.set_start_method(method, force=True)
    parse_once()
    os.environ.clear()
    os.environ.update(environment)
    with path.open("w") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    rank = environment.get("RANK", environment.get("SLURM_PROCID"))
    if rank is not None:
        # Lightning reads it when it is imported, which the server did without one.
        rank_zero_only.rank = int(rank)
    function(*arguments)


def _train_until(
    step: int, function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> None:
    look = StopAtNonFinite.on_train_batch_end

    def die(self: Any, trainer: Any, *rest: Any) -> None:
        look(self, trainer, *rest)
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    StopAtNonFinite.on_train_batch_end = die
    function(*arguments, **keywords)


def forget(*packages: str) -> None:
    """Let a child import packages anew, as if nothing had imported them."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]
