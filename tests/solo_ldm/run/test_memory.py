"""The memory of a step: what it takes, and what is kept for the next one."""

from __future__ import annotations

import platform
import resource

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException

from solo_ldm.run.memory import freed_memory_kept, kept_for_backward


def faults_of_a_step() -> int:
    """Return the pages that 48 MB of activations map; all are 12,288."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(2**22) for _ in range(3)]
    del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_most_pages_of_a_step_are_mapped_already_until_the_memory_goes_back_at_the_end():
    with freed_memory_kept():
        during = sum(faults_of_a_step() for _ in range(20))
    assert during < 10 * 12_288
    # Some of it may stay in pieces that the program holds.
    assert faults_of_a_step() > 6_000


def test_what_is_kept_for_the_backward_pass_is_counted_for_each_layer():
    """Of an image: the input of each layer with weights, and the mask or output of each other."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    # Image, output of the convolution, output of the rectifier (that of the normalisation is not
    # needed), in float32.
    assert kept_for_backward(network, (3, 8, 8), "32-true") == 4 * (3 * 64 + 4 * 64 + 4 * 64)
    assert torch.equal(torch.randn(3), torch.randn(3, generator=torch.manual_seed(0)))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert kept_for_backward(network, (3, 8, 8), "bf16-mixed") < 0.8 * 4 * (3 + 4 + 4) * 64


def test_a_network_that_cannot_be_followed_keeps_its_state():
    class Asks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.detach().sum()) > 0.0 else -x  # a value, which is not there

    norm = nn.BatchNorm2d(3)
    network = nn.Sequential(norm, Asks())
    with pytest.raises(DataDependentOutputException):
        kept_for_backward(network, (3, 4, 4), "32-true")
    assert norm.state_dict()["num_batches_tracked"] == 0
