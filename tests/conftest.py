"""Shared test set-up."""

import os
from collections.abc import Iterator

# Workers share the cores; libraries read this when they are imported, other processes inherit it.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))

import pytest  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch  # not above: the process that only hands out tests needs none

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_command_before() -> Iterator[None]:
    """Let no test know the configuration folder of a command that another one ran."""
    yield
    HydraConfig.instance().cfg = None
