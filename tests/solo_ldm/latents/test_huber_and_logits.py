"""Huber's model and categories given logits: torch's losses, and cells of the grid."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot, smooth_l1_loss

from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import ConditionalCategories, HuberPlane
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective

SIZES = {"proj_hidden_dim": 8, "proj_output_dim": 4}


@pytest.mark.parametrize("beta", [0, 0.3, 2.0])
def test_minus_hubers_log_density_is_torchs_smooth_l1_loss(beta):
    z1, z2 = torch.randn(2, 9, 5, dtype=torch.float64)
    ours = HuberPlane(1.7, beta).log_prob(z1, z2)
    torch.testing.assert_close(-ours.mean(), 1.7 * smooth_l1_loss(z1, z2, beta=beta))
    assert ours.shape == (9,)


def test_without_a_square_it_is_laplaces_density():
    z1, z2 = torch.randn(2, 9, 3, dtype=torch.float64)
    density = torch.distributions.Laplace(z2, 3 / 1.7).log_prob(z1).sum(dim=1)
    ours = HuberPlane(1.7, 0).log_prob(z1, z2)
    torch.testing.assert_close(ours - ours[0], density - density[0])


def test_minus_the_log_probability_of_categories_is_torchs_cross_entropy():
    logits, category = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 5
    latent = ConditionalCategories()
    assert torch.equal(latent.project(category[:, None]), category[:, None])
    expected = cross_entropy(logits, category)
    torch.testing.assert_close(-latent.log_prob(logits, category[:, None]).mean(), expected)
    certain = one_hot(category, 5).double()
    torch.testing.assert_close(-latent.log_prob(logits, certain).mean(), expected)
    soft = latent.project(torch.randn(9, 5, dtype=torch.float64))
    expected = -(soft * (3.0 * logits).log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(-ConditionalCategories(3.0).log_prob(logits, soft), expected)
    with pytest.raises(ValueError, match=r"indexes of categories \(B, 1\) are expected"):
        latent.log_prob(logits, category)


def test_both_are_latent_models_of_any_cell():
    huber = resolve({**SIZES, "latent": "huber", "entropy": "logdet", "huber_beta": 0.5})
    assert huber.latent_kwargs == {"huber_beta": 0.5}
    assert huber.prediction_precision == 1.0
    categories = {"latent": "categorical_conditional", "entropy": "plug_in"}
    given = {**SIZES, **categories, "over": "marginal", "predictor": "mlp", "target": "detached"}
    assert resolve(given).support == "simplex"
    with pytest.raises(ValueError, match="a density given a prediction"):
        resolve({**given, "predictor": "none"})
    objective = resolve(given).build_objective()
    assert isinstance(objective, LDMObjective)
    z1, z2, p1, p2 = torch.randn(4, 16, 4).softmax(dim=2)
    terms = objective(z1, z2, (p1, p2), (z1.detach(), z2.detach()))
    expected = 0.5 * (cross_entropy(p1, z2) + cross_entropy(p2, z1))
    entropy = sum(ENTROPIES["plug_in"]("simplex").marginal(z) for z in (z1, z2))
    torch.testing.assert_close(terms.loss, expected - entropy)
