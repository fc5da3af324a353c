"""Runs of a comparison as jobs of the launcher that hydra/launcher names: Slurm's, Ray's, …"""

from __future__ import annotations

import copy
import traceback
from concurrent.futures import Future
from functools import partial
from itertools import count
from threading import Thread
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import open_dict, read_write

from solo_ldm.commands.compare.runs import Result, Run
from solo_ldm.commands.compare.waiting import train_alone
from solo_ldm.commands.compare.workers import Submit
from solo_ldm.config.errors import one_line
from solo_ldm.config.places import SWEEP

# Hydra's own trains in this process; what joblib's does, jobs=N does, and loses one run at a time.
_OURS = ("BasicLauncher", "JoblibLauncher")


def launch_elsewhere(output: str) -> Submit | None:
    """Return what starts a run as a job of the launcher that the command names.

    Each run is a launch of its own, so that results come one by one and a job that is lost loses no
    other. A launcher blocks until its jobs have ended, hence a thread for each.

    Args:
        output: folder for what the launcher writes.

    Returns:
        None where the command names none, in a sweep, whose jobs are launched themselves, and
        outside of commands.
    """
    if not HydraConfig.initialized() or SWEEP.apart:
        return None
    named = HydraConfig.get().launcher
    if named.get("n_jobs", -1) != -1:
        raise ValueError(f"hydra.launcher.n_jobs: give jobs={named.n_jobs}, for every launcher")
    if named._target_.endswith(_OURS):
        return None
    hydra: Any = GlobalHydra.instance().hydra
    config: Any = copy.deepcopy(HydraConfig.instance().cfg)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = output
    overrides = list(config.hydra.overrides.task)
    context, numbers = HydraContext(hydra.config_loader, Callbacks()), count()

    def submit(run: Run) -> Future[Result | None]:
        future: Future[Result | None] = Future()
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=partial(_job, run), config=config
        )
        given = (launcher, overrides, next(numbers), run, future)
        # No thread of a pool: these are waited for when the command ends.
        Thread(target=_launch, args=given, daemon=True).start()
        return future

    return submit


def _launch(
    launcher: Launcher, overrides: list[str], number: int, run: Run, future: Future[Result | None]
) -> None:
    try:
        future.set_result(launcher.launch([overrides], number)[0].return_value)
    except Exception as error:
        line, kind = one_line(error)[:300], type(error)
        if kind.__module__ == "builtins" or "Submission" in kind.__name__:
            future.set_exception(ValueError(f"hydra/launcher: no job could be started: {line}"))
            return
        # What libraries raise where a job was started, and has not ended well.
        line, trace = f"its job was lost: {line}", traceback.format_exc()
        future.set_result(Result(run.label, run.seed, error=line, trace=trace))


def _job(run: Run, cfg: Any) -> Result | None:
    """Do the work of a job; its configuration is the comparison's."""
    return train_alone(run)
