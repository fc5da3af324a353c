"""A launcher of Hydra's whose jobs run in this process, in a thread; some are lost."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import cloudpickle
import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, run_job
from hydra.plugins.launcher import Launcher

THROUGH = "hydra.launcher._target_=tests.support.studies.toy_launcher.ToyLauncher"


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Hydra take it, which takes launchers from hydra_plugins alone."""
    monkeypatch.setattr(Plugins, "is_in_toplevel_plugins_module", lambda *_: True)
    Plugins.instance().register(ToyLauncher)


class JobLostError(RuntimeError):
    """What a library raises where a job ended without a result."""


class ToyLauncher(Launcher):
    """Run jobs; the one with a number is lost.

    Args:
        lost: number of the job.
        absent: whether there is no cluster.
    """

    def __init__(self, lost: int = -1, absent: bool = False) -> None:
        self.lost, self.absent = lost, absent

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        if self.absent:
            raise RuntimeError("there is no cluster here")
        task = pickle.loads(cloudpickle.dumps(self.task))  # as it reaches a process
        returned = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            loader = self.context.config_loader
            config = loader.load_sweep_config(self.config, list(overrides))
            config.hydra.job.num = number
            returned.append(
                run_job(
                    hydra_context=self.context,
                    task_function=task,
                    config=config,
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                )
            )
            if number == self.lost:
                raise JobLostError(f"job {number} has not produced any output")
        return returned
