"""The runs that a comparison still has to train, shared with other comparisons of the folder."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from solo_ldm.commands.compare.runs import Result, Run, find_result, train
from solo_ldm.run.folder import identity

# Of checkpoint.dir: an empty file for each run, locked by the process that trains the run, on
# whichever machine. The system unlocks it when the process ends, however it ends.
_LOCKS = "locks"


class Waiting:
    """Runs in the order to train them, each in one process at a time.

    Args:
        runs: in the order to start them.
        find: returns the result of a run that another comparison has finished meanwhile.
    """

    def __init__(
        self, runs: Sequence[Run], find: Callable[[Run], Result | None] = find_result
    ) -> None:
        self._runs, self._find = deque(runs), find

    def __len__(self) -> int:
        return len(self._runs)

    def take(self) -> Run | Result | None:
        """Return the next run that nobody trains, or its result if it was finished elsewhere.

        None: others are training all that is left; ask again later.
        """
        for _ in range(len(self._runs)):
            run = self._runs.popleft()
            with locked(run) as is_free:
                if is_free:
                    return self._find(run) or run
            self._runs.append(run)
        return None

    def put_back(self, run: Run) -> None:
        """Let a run wait that another comparison has begun."""
        self._runs.append(run)


def train_alone(run: Run) -> Result | None:
    """Train a run, or take the result of another comparison that has finished it meanwhile.

    None: another process is training it.
    """
    with locked(run) as is_free:
        return (find_result(run) or train(run)) if is_free else None


@contextmanager
def locked(run: Run) -> Iterator[bool]:
    """Lock a run against other processes; False if one of them is training it."""
    content = json.dumps(identity(run.cfg), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    folder = Path(run.cfg.checkpoint.dir) / _LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / f"{digest}.lock").acquire(timeout=0)
    except Timeout:
        yield False
        return
    with lock:
        yield True
