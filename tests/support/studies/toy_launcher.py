"""A launcher of Hydra's whose jobs run in this process, in a thread; some are lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, run_job
from hydra.plugins.launcher import Launcher


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
        returned = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            loader = self.context.config_loader
            config = loader.load_sweep_config(self.config, list(overrides))
            config.hydra.job.num = number
            returned.append(
                run_job(
                    hydra_context=self.context,
                    task_function=self.task,
                    config=config,
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                )
            )
            if number == self.lost:
                raise JobLostError(f"job {number} has not produced any output")
        return returned
