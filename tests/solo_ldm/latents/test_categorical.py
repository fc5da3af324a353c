"""Categories on the simplex: tables by hand, identities of information, gradients, mistakes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import mutual_info_score
from torch import Tensor

from solo_ldm.entropy import KernelEntropy, NoEntropy, PlugInEntropy
from solo_ldm.latents import CategoricalSimplex, FittedCategories
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective

SIZES = {"proj_hidden_dim": 8, "proj_output_dim": 5}
EXACT = {**SIZES, "latent": "categorical", "entropy": "plug_in", "over": "joint"}
APPROXIMATE = {**EXACT, "over": "pooled", "entropy_weight": 2.0}
INFORMATION = {**EXACT, "latent": "categorical_fitted", "over": "marginal"}


def pair(samples: int = 12, categories: int = 5, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Return probabilities of two views."""
    h = scale * torch.randn(2, samples, categories, dtype=torch.float64)
    z1, z2 = h.softmax(dim=2)
    return z1, z2


def one_hot(places: list[int], categories: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(places), categories).double()


def objective(**kwargs) -> LDMObjective:
    built = resolve(kwargs).build_objective()
    assert isinstance(built, LDMObjective)
    return built


@pytest.mark.parametrize("match", [0.3, 0.8, 0.99])
def test_the_table_of_the_model_sums_to_one_and_matches_with_its_probability(match):
    """Certain views read single entries of it."""
    latent = CategoricalSimplex(match, match)
    places = torch.tensor(list(itertools.product(range(5), repeat=2)))
    log_table = latent.log_prob(
        one_hot(places[:, 0].tolist(), 5), one_hot(places[:, 1].tolist(), 5)
    )
    table = log_table.exp().view(5, 5)
    torch.testing.assert_close(table.sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(table.diagonal(), torch.full((5,), match / 5, dtype=torch.float64))
    off = table[~torch.eye(5, dtype=torch.bool)]
    torch.testing.assert_close(off, torch.full_like(off, (1 - match) / 20))


def test_the_log_density_is_the_expectation_over_all_pairs_of_categories():
    latent, (z1, z2) = CategoricalSimplex(0.9, 0.9), pair()
    expected = torch.zeros(len(z1), dtype=torch.float64)
    for c1, c2 in itertools.product(range(5), repeat=2):
        log_entry = math.log(0.9 / 5 if c1 == c2 else 0.1 / 20)
        expected += z1[:, c1] * z2[:, c2] * log_entry
    torch.testing.assert_close(latent.log_prob(z1, z2), expected)


def test_the_joint_entropy_is_that_of_the_table_of_all_pairs_of_categories():
    z1, z2 = pair()
    table = np.zeros((5, 5))
    for i, c1, c2 in itertools.product(range(len(z1)), range(5), range(5)):
        table[c1, c2] += z1[i, c1].item() * z2[i, c2].item() / len(z1)
    assert PlugInEntropy().joint(z1, z2).item() == pytest.approx(scipy_entropy(table.ravel()))


def test_entropies_of_two_categories_worked_by_hand():
    """Half of the samples agree on the first category, half on none: P = [[½, ¼], [¼, 0]]."""
    z1, z2 = one_hot([0, 0, 0, 1], 2), one_hot([0, 0, 1, 0], 2)
    estimator = PlugInEntropy()
    marginal = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert estimator.marginal(z1).item() == pytest.approx(marginal)
    assert estimator.pooled(z1, z2).item() == pytest.approx(marginal)
    assert estimator.joint(z1, z2).item() == pytest.approx(1.5 * math.log(2.0))
    uncertain = torch.full((4, 2), 0.5, dtype=torch.float64)
    assert estimator.joint(uncertain, uncertain).item() == pytest.approx(2 * math.log(2.0))
    assert estimator.joint(one_hot([1] * 4, 2), one_hot([1] * 4, 2)).item() == 0.0
    assert estimator.joint(one_hot([0, 1] * 2, 2), one_hot([0, 1] * 2, 2)).item() == pytest.approx(
        math.log(2.0)
    )


def test_the_exact_loss_is_a_divergence_and_zero_at_the_model():
    """Views that match as often as the model says, all categories alike: nothing is left."""
    assert all(objective(**EXACT)(*pair(scale=s)).loss > 0 for s in (0.1, 1.0, 10.0))
    # Of 4 categories and 4 · 4 samples 3 in 4 match, 1 in 12 each other pair: p = 3/4.
    pairs = [(a, a) for a in range(4) for _ in range(9)]
    pairs += [(a, b) for a in range(4) for b in range(4) if a != b]
    z1, z2 = (one_hot([one[k] for one in pairs], 4) for k in range(2))
    settings = {**EXACT, "proj_output_dim": 4}
    fitting = objective(**settings, match_probability=0.75, first_match_probability=0.75)
    assert fitting(z1, z2).loss.item() == pytest.approx(0.0, abs=1e-12)
    other = objective(**settings, match_probability=0.9, first_match_probability=0.9)
    divergence = scipy_entropy([0.75, 0.25], [0.9, 0.1])
    assert other(z1, z2).loss.item() == pytest.approx(divergence)


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_the_approximate_loss_is_never_above_the_exact(scale):
    """As H[c1, c2] ≤ H[c1] + H[c2] ≤ 2 H of both views pooled; equal where views are alike and
    independent of each other."""
    z1, z2 = pair(scale=scale)
    exact, approximate = objective(**EXACT)(z1, z2), objective(**APPROXIMATE)(z1, z2)
    assert approximate.loss < exact.loss
    assert approximate.log_prob == exact.log_prob
    same = z1[:1].repeat(6, 1)
    torch.testing.assert_close(
        objective(**APPROXIMATE)(same, same).loss, objective(**EXACT)(same, same).loss
    )


def test_the_information_loss_is_minus_the_mutual_information_of_the_categories():
    first, second = torch.randint(0, 4, (2, 60)).tolist()
    second = [a if i % 3 else b for i, (a, b) in enumerate(zip(first, second, strict=True))]
    settings = {**INFORMATION, "proj_output_dim": 4}
    loss = objective(**settings)(one_hot(first, 4), one_hot(second, 4)).loss
    assert loss.item() == pytest.approx(-mutual_info_score(first, second))


def test_the_information_loss_of_uncertain_views_is_that_of_their_table():
    z1, z2 = pair()
    table = (z1.T @ z2 / len(z1)).numpy()
    expected = scipy_entropy(table.ravel(), np.outer(table.sum(1), table.sum(0)).ravel())
    assert objective(**INFORMATION)(z1, z2).loss.item() == pytest.approx(-expected)


def test_losses_are_the_references_up_to_its_temperature_and_constants():
    """Theirs: −E z1ᵀz2 − T H (exact), −E z1ᵀz2 − 2 T H_pooled, and the information with the
    marginal of both views pooled in place of each view's."""
    z1, z2 = pair(categories=10)
    match = (z1 * z2).sum(dim=1).mean()
    table, mean = z1.T @ z2 / len(z1), 0.5 * (z1 + z2).mean(dim=0)
    joint, pooled = (-(p * p.log()).sum() for p in (table, mean))
    temperature = 1.0 / math.log(9 * 0.9 / 0.1)
    constant = math.log(10) + math.log(math.exp(1.0 / temperature) + 9)
    settings = {"match_probability": 0.9, "first_match_probability": 0.9, "proj_output_dim": 10}
    exact = objective(**{**EXACT, **settings})(z1, z2).loss - constant
    torch.testing.assert_close(temperature * exact, -match - temperature * joint)
    approximate = objective(**{**APPROXIMATE, **settings})(z1, z2).loss - constant
    torch.testing.assert_close(temperature * approximate, -match - 2.0 * temperature * pooled)
    information = {**INFORMATION, "proj_output_dim": 10, "over": "pooled", "entropy_weight": 2.0}
    torch.testing.assert_close(objective(**information)(z1, z2).loss, joint - 2.0 * pooled)


@pytest.mark.parametrize("kwargs", [EXACT, APPROXIMATE, INFORMATION], ids=lambda one: one["over"])
def test_gradients_equal_finite_differences(kwargs):
    built = objective(**kwargs)
    h1, h2 = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True)
    project = built.latent.project
    inputs = (h1.detach().requires_grad_(), h2.detach().requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: built(project(a), project(b)).loss, inputs)


@pytest.mark.parametrize("kwargs", [EXACT, APPROXIMATE, INFORMATION], ids=lambda one: one["over"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_categories_without_probability_have_finite_losses_and_gradients(kwargs, dtype):
    built = objective(**kwargs)
    h = torch.tensor([[3000.0, 0, 0, 0, 0], [0.0, 0, 0, 0, 0], [-3000.0, 0, 0, 0, 0]], dtype=dtype)
    h = h.requires_grad_()
    for rows in ([0, 0], [0, 1], [0, 1, 2]):
        z = built.latent.project(h[rows])
        loss = built(z, z.flip(0)).loss
        (gradient,) = torch.autograd.grad(loss, h)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_autocast_changes_no_loss():
    z1, z2 = (z.float() for z in pair())
    for kwargs in (EXACT, APPROXIMATE, INFORMATION):
        built = objective(**kwargs)
        with torch.autocast("cpu", torch.bfloat16):
            inside = built(z1, z2).loss
        torch.testing.assert_close(inside, built(z1, z2).loss)


@pytest.mark.parametrize("kwargs", [EXACT, APPROXIMATE, INFORMATION], ids=lambda one: one["over"])
def test_names_of_categories_do_not_matter(kwargs):
    z1, z2 = pair()
    order = torch.randperm(5)
    built = objective(**kwargs)
    torch.testing.assert_close(tuple(built(z1[:, order], z2[:, order])), tuple(built(z1, z2)))


def test_the_temperature_goes_from_the_first_match_probability_to_the_last():
    latent = CategoricalSimplex(0.99, 0.8, temperature_decay=4.0)
    first, last = 1.0 / math.log(9 * 0.8 / 0.2), 1.0 / math.log(9 * 0.99 / 0.01)
    assert latent.temperature(10) == pytest.approx(first)
    latent.at(0.5)
    assert latent.temperature(10) == pytest.approx(last + (first - last) * math.exp(-2.0))
    assert latent.schedule(10) == {"temperature": latent.temperature(10)}
    latent.at(1.0)
    assert last < latent.temperature(10) < last + 0.02 * (first - last)
    # Over an epoch of many in steps of 1/N, theirs moves by 4/N of what is left.
    steps, moved = 1000, first
    for _ in range(steps):
        moved -= 4.0 / steps * (moved - last)
    assert latent.temperature(10) == pytest.approx(moved, rel=1e-3)


def test_the_value_is_in_nats_and_nothing_is_no_entropy():
    value = torch.tensor(1.25)
    assert PlugInEntropy().to_nats(value, 10, 5, 2) is value
    assert NoEntropy("simplex").marginal(pair()[0]) == 0.0


def test_a_match_probability_below_chance_and_wrong_shapes_are_one_line():
    latent, (z1, z2) = CategoricalSimplex(0.15, 0.3), pair()
    cases = [
        (lambda: latent.prediction_dim(5), "match_probability: expected more than chance, 1/5"),
        (lambda: latent.log_prob(z1, z2), "match_probability: expected more than chance"),
        (lambda: CategoricalSimplex().prediction_dim(1), "more than chance, 1/1"),
        (lambda: CategoricalSimplex().log_prob(z1, z2[:3]), "two views"),
        (lambda: FittedCategories().log_prob(z1, z2[:3]), "two views"),
        (lambda: PlugInEntropy().joint(z1, z2[:3]), "two views"),
        (lambda: PlugInEntropy().marginal(z1[:1]), "at least 2 samples"),
        (lambda: PlugInEntropy("plane"), "support: expected simplex, got"),
        (lambda: KernelEntropy("simplex"), "support: expected plane or sphere, got"),
    ]
    for case, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            case()
        assert "\n" not in str(caught.value)
