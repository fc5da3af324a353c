"""Trials of the theorem on few samples, for tests that do not ask whether sources are recovered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from solo_ldm.theorem import alternatives, trial


@contextmanager
def few_samples() -> Iterator[None]:
    """Train and evaluate on a twentieth of the samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "_TRAINED_PAIRS", 2000)
        patch.setattr(trial, "_HELD_OUT_PAIRS", 1000)
        patch.setattr(trial, "_JUDGED_PAIRS", 512)
        patch.setattr(alternatives, "_DRAWS", 4)
        yield
