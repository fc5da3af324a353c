"""What needs a CUDA device: `pytest -m gpu`."""

from __future__ import annotations

import math

import pytest
import torch
from cells import each_cell, objective
from toy import toy_config

from solo_ldm.host.pretrain import pretrain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::solo_ldm.host.guards.CollapseWarning"),
]


@each_cell
def test_the_gpu_gives_the_losses_and_gradients_of_the_cpu(support, name, over):
    cell = objective(support, name, over)
    latents = [torch.randn(128, 512), torch.randn(128, 512)]
    outcomes = []
    for device in ("cpu", "cuda"):
        leaves = [h.to(device).requires_grad_() for h in latents]
        loss = cell(*(cell.latent.project(h) for h in leaves)).loss
        loss.backward()
        outcomes.append([loss.detach().cpu(), *(h.grad.cpu() for h in leaves)])
    for cpu, gpu in zip(*outcomes, strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=32-true",),
        ("precision=bf16-mixed", "performance.compile=true"),
        ("precision=16-mixed", "method_kwargs.entropy=logdet"),
        ("precision=16-mixed", "method_kwargs.entropy=neighbour"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["gaussprob", "sphereprob"])
def test_a_run_trains_on_the_gpu(tmp_path, name, overrides):
    outcome = pretrain(toy_config(tmp_path, "accelerator=gpu", *overrides, name=name))
    assert outcome is not None
    assert math.isfinite(outcome.results["final_terms"]["ldm_loss"])
