"""Sweeps: every job runs, whatever becomes of the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from solo_ldm.config.errors import Left
from solo_ldm.config.places import SWEEP


@contextmanager
def every_job(
    errors: Callable[[], AbstractContextManager[None]], codes: list[int]
) -> Iterator[list[str]]:
    """Let Hydra's sweeper run every job; yield what failed and why, a line a job.

    Hydra itself composes all jobs before the first one and ends at the first error.

    Args:
        errors: turns those of known causes into one line.
        codes: exit codes of the jobs, to which each job adds its own.
    """
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.sweeper import Sweeper

    # Hydra loads its own launcher as a plugin, apart from the module of that name.
    launchers = {one.__name__: one for one in Plugins.instance().discover(Launcher)}
    BasicLauncher: Any = launchers["BasicLauncher"]  # noqa: N806
    launch, validate = BasicLauncher.launch, Sweeper.validate_batch_is_legal
    failed: list[str] = []

    def each(self: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        shared = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set()
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            varied = [one.lstrip("+") for one in overrides if one not in shared]
            shown = " ".join(varied)
            SWEEP.number, SWEEP.varied = number + 1, varied if len(job_overrides) > 1 else ()
            SWEEP.given = any(one.lstrip("+").startswith("output=") for one in overrides)
            print(
                f"job {number + 1} of {initial_job_idx + len(job_overrides)}: {shown}", flush=True
            )
            reason = None
            try:
                with errors():
                    _ = launch(self, [overrides], number)[0].return_value
            except Left as left:
                reason = left.message
            except Exception as error:
                traceback.print_exc()
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            else:
                code = codes[-1] if codes else 0
                reason = f"exit code {code}" if code else None
            if reason:
                failed.append(f"job {number + 1}, {shown}: {reason}")
        return []

    BasicLauncher.launch = each
    Sweeper.validate_batch_is_legal = lambda self, batch: None
    try:
        yield failed
    finally:
        BasicLauncher.launch, Sweeper.validate_batch_is_legal = launch, validate
        SWEEP.varied = ()
        SWEEP.folders.clear()
