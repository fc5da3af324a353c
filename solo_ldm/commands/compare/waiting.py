"""The runs that a comparison still has to train, shared with other comparisons of the folder."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from solo_ldm.commands.compare.runs import Result, Run
from solo_ldm.run.folder import identity

# Of checkpoint.dir: an empty file for each run, locked while a process trains the run. The system
# unlocks it when the process ends, however it ends.
_LOCKS = "locks"


class Waiting:
    """Runs in the order to train them, each by one comparison at a time.

    Args:
        runs: in the order to start them.
        find: returns the result of a run that another comparison has finished meanwhile.
        shared: whether other processes, also on other machines, may train in the same folder.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        find: Callable[[Run], Result | None] = lambda run: None,
        shared: bool = False,
    ) -> None:
        self._runs, self._find, self._shared = deque(runs), find, shared
        self._locks: dict[tuple[str, int], FileLock] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def take(self) -> Run | Result | None:
        """Return the next run that nobody trains, or its result if it was finished elsewhere.

        None: others are training all that is left; ask again later.
        """
        for _ in range(len(self._runs)):
            run = self._runs.popleft()
            if not self._lock(run):
                self._runs.append(run)
                continue
            found = self._find(run) if self._shared else None
            if found is None:
                return run
            self.done(found)
            return found
        return None

    def done(self, run: Run | Result) -> None:
        """Leave a run to others."""
        lock = self._locks.pop((run.label, run.seed), None)
        if lock is not None:
            lock.release()

    def _lock(self, run: Run) -> bool:
        if not self._shared:
            return True
        content = json.dumps(identity(run.cfg), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        folder = Path(run.cfg.checkpoint.dir) / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{digest}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._locks[run.label, run.seed] = lock
        return True
