"""Mutation testing: plant small faults, one at a time, and see whether a test fails.

    python -m tests.support.mutation                         all modules that modules.yaml names
    python -m tests.support.mutation solo_ldm/objective.py   one, or several
    python -m tests.support.mutation --again                 those that survived once more
    python -m tests.support.mutation --report                the table of what is known

A process imports everything and collects the tests once. A child of it, forked for each fault,
puts the changed code into the functions that exist and runs the tests that execute the changed
line, the fastest first, until one fails. Faults of constants and defaults act at import: their
children are forked before the packages are imported. What is known is kept in --folder, where a
killed session continues. equivalent.yaml lists faults that change nothing that anyone can see.

Of the maintained tools, mutmut changes only what is inside functions and knows no operators of
tensors; cosmic-ray starts a process for each fault, which takes as long as importing torch.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402

from tests.support.mutation.trial import OPTIONS, Warm, try_at_import  # noqa: E402
from tests.support.mutation.work import Work  # noqa: E402

# Imported before the first fork, as far as they are installed.
_HEAVY = (
    "torch",
    "lightning.pytorch",
    "timm",
    "torchmetrics",
    "torchvision",
    "sklearn.linear_model",
    "scipy.stats",
    "hydra",
    "pandas",
    "matplotlib.pyplot",
)


# Of what is known, kept from session to session as long as the system keeps temporary files.
FOLDER = Path(tempfile.gettempdir(), "solo_ldm-mutation")


def main() -> None:
    """Try the faults and print the table."""
    parser = argparse.ArgumentParser(description="Mutation testing.")
    parser.add_argument("modules", nargs="*", help="paths; all of modules.yaml if none")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of results")
    parser.add_argument("--again", action="store_true", help="try the survivors once more")
    parser.add_argument("--most", type=int, default=10**6, help="faults of a module, at random")
    parser.add_argument("--seconds", type=float, default=90.0, help="of tests for each fault")
    parser.add_argument("--report", action="store_true", help="only print what is known")
    arguments = parser.parse_args()
    work = Work(arguments)
    if work.todo and not arguments.report:
        for name in _HEAVY:
            if importlib.util.find_spec(name.partition(".")[0]):
                importlib.import_module(name)
        gc.freeze()
        warm = os.fork()
        if warm == 0:
            temporary = f"--basetemp={arguments.folder / 'temporary'}"
            ended = pytest.main([*OPTIONS, temporary, *work.tests], plugins=[Warm(work)])
            sys.stdout.flush()
            os._exit(int(ended))
        if os.waitpid(warm, 0)[1]:
            os._exit(1)
        try_at_import(work)
        work = Work(arguments)
    work.report()
    os._exit(0)  # libraries print what they leak at an ordinary end


if __name__ == "__main__":
    main()
