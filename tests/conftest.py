"""Shared test set-up."""

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

# Workers share the cores; libraries read this when they are imported, other processes inherit it.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))

import pytest  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402

from tests.support import ROOT  # noqa: E402
from tests.support.yamls import parse_once  # noqa: E402

parse_once()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch  # not above: the process that only hands out tests needs none

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_command_before() -> Iterator[None]:
    """Let no test know the configuration folder of a command that another one ran."""
    yield
    HydraConfig.instance().cfg = None


@pytest.fixture
def benchmarks(monkeypatch) -> Iterator[Any]:
    """Import a benchmark by its name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
