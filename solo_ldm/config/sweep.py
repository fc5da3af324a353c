"""Sweeps: every job runs, whatever becomes of the others, here or through a launcher of Hydra's."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import set_start_method
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

from solo_ldm.config.errors import Left
from solo_ldm.config.places import SWEEP


@contextmanager
def every_job(errors: Callable[[], AbstractContextManager[None]]) -> Iterator[list[str]]:
    """Let Hydra's sweeper run every job; yield what failed and why, a line a job.

    Hydra itself composes all jobs before the first one and ends at the first error.

    Args:
        errors: turns those of known causes into one line.
    """
    make, validate = Plugins.instantiate_launcher, Sweeper.validate_batch_is_legal
    failed: list[str] = []

    def watched(self: Any, hydra_context: Any, task_function: Any, config: Any) -> Launcher:
        job = _Job(task_function, config.hydra.launcher._target_)
        return _EveryJob(make(self, hydra_context, job, config), job, errors, failed)

    def legal(self: Any, batch: Any) -> None:
        if SWEEP.apart:  # else each job is composed when its turn comes
            validate(self, batch)

    Plugins.instantiate_launcher = watched
    Sweeper.validate_batch_is_legal = legal
    try:
        yield failed
    finally:
        Plugins.instantiate_launcher, Sweeper.validate_batch_is_legal = make, validate
        SWEEP.varied, SWEEP.apart = (), False
        SWEEP.folders.clear()


def check_launcher() -> None:
    """Raise a one-line ValueError for a launcher that starts nothing, as there is no sweep."""
    kind = HydraConfig.get().launcher._target_.rpartition(".")[2]
    if kind != "BasicLauncher" and not SWEEP.apart:
        raise ValueError(
            f"hydra/launcher: expected a sweep (-m KEY=A,B) for {kind}, got one run, which would "
            "be made here; add -m, or leave the launcher out"
        )


class _Job:
    """The work of each job, here or in another process; it returns why it failed, or None.

    Args:
        work: a function of the configuration that returns an exit code.
        launcher: class that starts the jobs.
    """

    def __init__(self, work: Callable[[Any], int], launcher: str) -> None:
        self.work, self.apart = work, not launcher.endswith("BasicLauncher")
        self.shared, self.count = set[str](), 0
        SWEEP.apart = self.apart

    def varied(self, overrides: Sequence[str]) -> list[str]:
        """Return those that the jobs do not share."""
        return [one.lstrip("+") for one in overrides if one not in self.shared]

    def begin(self, number: int, overrides: Sequence[str]) -> None:
        """Say which job it is, to the user and to what names folders."""
        varied = self.varied(overrides)
        SWEEP.number, SWEEP.varied = number + 1, varied if self.count > 1 else ()
        SWEEP.given = any(one.lstrip("+").startswith("output=") for one in overrides)
        SWEEP.apart = self.apart
        print(f"job {number + 1} of {self.count}: {' '.join(varied)}", flush=True)

    def __call__(self, cfg: Any) -> str | None:
        """Do the work."""
        if self.apart:
            set_start_method(None, force=True)  # the usual one: joblib's starts no loaders
            self.begin(HydraConfig.get().job.num, list(HydraConfig.get().overrides.task))
        try:
            code = self.work(cfg)
        except Left as left:
            return left.message
        except Exception as error:
            return _reason(error)
        return f"exit code {code}" if code else None


class _EveryJob(Launcher):
    """A launcher that is told of every job: Hydra's own one by one, others of all at once."""

    def __init__(
        self,
        launcher: Launcher,
        job: _Job,
        errors: Callable[[], AbstractContextManager[None]],
        failed: list[str],
    ) -> None:
        self.launcher, self.job, self.errors, self.failed = launcher, job, errors, failed

    def setup(self, **given: Any) -> None:
        """Nothing: the launcher is set up."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Run the jobs, and note why some have failed."""
        job = self.job
        job.shared = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set()
        job.count = initial_job_idx + len(job_overrides)
        alone = [[one] for one in job_overrides]
        for batch in [job_overrides] if job.apart else alone:
            if not job.apart:
                job.begin(initial_job_idx, batch[0])
            for number, reason in enumerate(self._reasons(batch, initial_job_idx)):
                if reason:
                    shown = " ".join(job.varied(batch[number]))
                    which = f"job {initial_job_idx + number + 1}, {shown}"
                    self.failed.append(f"{which}: {reason}")
            initial_job_idx += len(batch)
        return []

    def _reasons(self, batch: Sequence[Sequence[str]], first: int) -> list[str | None]:
        try:
            with self.errors():
                return [one.return_value for one in self.launcher.launch(batch, first)]
        except Left as left:
            reason = left.message
        except Exception as error:
            reason = _reason(error)
        if self.job.apart:
            self.failed.append(f"hydra/launcher: {reason}; jobs that have ended keep their runs")
        return [] if self.job.apart else [reason]


def _reason(error: Exception) -> str:
    traceback.print_exc()
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
