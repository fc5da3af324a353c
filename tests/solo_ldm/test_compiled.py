"""The objective in one graph of torch.compile."""

from __future__ import annotations

import pytest
import torch

from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS
from solo_ldm.objective import LDMObjective
from tests.support.methods.cells import ON_SUPPORT

CASES = [*ON_SUPPORT, ("categorical", "plug_in")]


@pytest.mark.parametrize(("support", "entropy"), CASES, ids=["-".join(one) for one in CASES])
def test_the_objective_is_one_graph_with_the_same_values_and_gradients(support, entropy):
    torch.compiler.reset()
    latent = LATENTS[support]()
    objective = LDMObjective(latent, ENTROPIES[entropy](latent.support))
    views = [torch.randn(16, 4).softmax(dim=1) for _ in range(2)]
    views = [latent.project(view).requires_grad_() for view in views]
    compiled = torch.compile(objective, fullgraph=True, backend="aot_eager")
    values = [one(*views).loss for one in (objective, compiled)]
    gradients = [torch.autograd.grad(value, views) for value in values]
    torch.testing.assert_close(values[1], values[0], atol=0, rtol=1e-6)
    for ours, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-7, rtol=1e-5)
