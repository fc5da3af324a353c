"""Memory that a step frees is kept for the next one, and goes back after training."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from solo_ldm.run.memory import freed_memory_kept

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")


def faults_of_a_step() -> int:
    """Return the pages that 48 MB of activations map; all are 12,288."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(2**22) for _ in range(3)]
    del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_most_pages_of_a_step_are_mapped_already_until_the_memory_goes_back_at_the_end():
    with freed_memory_kept():
        during = sum(faults_of_a_step() for _ in range(20))
    assert during < 10 * 12_288
    # Some of it may stay in pieces that the program holds.
    assert faults_of_a_step() > 6_000
