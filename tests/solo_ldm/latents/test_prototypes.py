"""Prototypes: a mixture that shares components between views, fitted by online EM alone."""

from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.nn.functional import normalize

from solo_ldm.entropy import KernelEntropy
from solo_ldm.latents import GaussianPlane, PlanePrototypes, ProductLatent, SpherePrototypes
from solo_ldm.latents.base import LatentModel
from solo_ldm.methods.ldm.body import LDM
from solo_ldm.objective import LDMObjective
from tests.support.methods.configurations import method_config

KINDS = {"sphere": SpherePrototypes, "plane": PlanePrototypes}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def clusters(count: int = 90, dim: int = 3, apart: float = 6.0) -> Tensor:
    """Samples around three corners."""
    corners = apart * torch.eye(3, dim, dtype=torch.float64)
    return corners[torch.arange(count) % 3] + torch.randn(count, dim, dtype=torch.float64)


def fitted(model: LatentModel, z: Tensor, steps: int = 30) -> LatentModel:
    for _ in range(steps):
        model.observe([z])
    return model


def parts(model: LatentModel, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return π (K,) and log f_k(z) (B, K), written out."""
    weights, sums = model.weights.double(), model.sums.double()
    means = sums / weights[:, None]
    if isinstance(model, SpherePrototypes):
        scores = model.prediction_precision * z @ normalize(means).T
    else:
        squares = (z[:, None] - means).square().mean(dim=2)
        scores = -model.prediction_precision * squares
    return weights / weights.sum(), scores


@each_kind
def test_the_density_is_that_of_both_views_under_one_component(kind):
    model = kind(num_prototypes=5).double()
    z1 = model.project(clusters())
    fitted(model, z1, 3)
    z2 = model.project(clusters())
    (weights, s1), (_, s2) = parts(model, z1), parts(model, z2)
    joint = model.log_prob(z1, z2)
    torch.testing.assert_close(joint.exp(), (weights * s1.exp() * s2.exp()).sum(dim=1))


@each_kind
def test_it_is_the_densities_of_the_views_and_what_their_assignments_share(kind):
    """log p(z1, z2) = log p(z1) + log p(z2) + log Σ_k r_k(z1) r_k(z2) / π_k."""
    model = kind(num_prototypes=4).double()
    views = [model.project(clusters()) for _ in range(2)]
    fitted(model, views[0], 3)
    apart, assigned = torch.zeros(90).double(), []
    for z in views:
        weights, scores = parts(model, z)
        apart = apart + (weights.log() + scores).logsumexp(dim=1)
        assigned.append((weights.log() + scores).softmax(dim=1))
    shared = (assigned[0] * assigned[1] / parts(model, views[0])[0]).sum(dim=1).log()
    torch.testing.assert_close(model.log_prob(*views), apart + shared, atol=1e-10, rtol=0)


def test_steps_without_a_past_are_scikit_learns_em_of_gaussians_of_one_variance():
    precision, z = 4.0, clusters(apart=2.0)
    model = fitted(PlanePrototypes(precision, 3, prototype_momentum=0.0).double(), z, 1)
    for _ in range(6):
        weights = (model.weights / model.weights.sum()).numpy()
        means = (model.sums / model.weights[:, None]).numpy()
        theirs = GaussianMixture(
            3,
            covariance_type="spherical",
            max_iter=1,
            reg_covar=0.0,
            weights_init=weights,
            means_init=means,
            precisions_init=[2.0 * precision / 3] * 3,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs.fit(z.numpy())
        model.observe([z])
        ours = model.sums / model.weights[:, None]
        torch.testing.assert_close(ours, torch.from_numpy(theirs.means_), atol=1e-9, rtol=0)
        expected = torch.from_numpy(theirs.weights_)
        torch.testing.assert_close(model.weights, expected, atol=1e-9, rtol=0)


@each_kind
def test_no_step_without_a_past_lowers_the_likelihood_of_the_latents(kind):
    model = kind(num_prototypes=6, prototype_momentum=0.0).double()
    z, found = model.project(clusters(apart=2.0)), []
    for _ in range(20):
        model.observe([z])
        weights, scores = parts(model, z)
        found.append(float((weights.log() + scores).logsumexp(dim=1).mean()))
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(found))
    assert found[-1] > found[0] + 1e-3


@each_kind
def test_the_statistics_are_moving_averages_that_begin_with_the_first_batch(kind):
    model = kind(num_prototypes=4, prototype_momentum=0.75).double()
    first, second = (model.project(clusters()) for _ in range(2))
    model.observe([first])
    weights, sums = model.weights.clone(), model.sums.clone()
    torch.testing.assert_close(weights.sum(), torch.ones(()).double())
    torch.testing.assert_close(sums.sum(dim=0), first.mean(dim=0))
    shares = (lambda found: (found[0].log() + found[1]).softmax(dim=1))(parts(model, second))
    model.observe(second.chunk(2))  # of two views: the samples of both
    torch.testing.assert_close(model.weights, 0.75 * weights + 0.25 * shares.mean(dim=0))
    expected = 0.75 * sums + 0.25 * shares.T @ second / len(second)
    torch.testing.assert_close(model.sums, expected)


@each_kind
def test_prototypes_in_use_are_the_perplexity_of_the_assignments(kind):
    model = kind(300.0, num_prototypes=3).double()
    model.allocate(3)
    z = model.project(clusters(apart=60.0))
    model.weights.fill_(1 / 3)
    model.sums.copy_(model.project(60.0 * torch.eye(3).double()) / 3)
    assert model.health(z)["prototypes_in_use"] == pytest.approx(3.0, abs=1e-6)
    assert model.health(z[::3])["prototypes_in_use"] == pytest.approx(1.0, abs=1e-6)
    assert GaussianPlane().health(z) == {}


@each_kind
def test_no_gradient_of_the_loss_reaches_the_prototypes_and_more_prototypes_than_samples_differ(
    kind,
):
    model = kind(num_prototypes=40)
    assert not list(model.parameters())
    views = [model.project(torch.randn(8, 5)).requires_grad_() for _ in range(2)]
    model.observe(views)
    before = model.sums.clone()
    LDMObjective(model, KernelEntropy(model.support), "marginal")(*views).loss.backward()
    assert torch.equal(model.sums, before)
    assert views[0].grad is not None
    means = model.sums / model.weights[:, None]
    assert torch.pdist(means).min() > 0


@each_kind
def test_latents_that_are_not_finite_leave_prototypes_finite(kind):
    model = kind(num_prototypes=4)
    z = torch.full((8, 5), math.nan)
    for _ in range(3):
        model.observe([z, z])
    assert model.sums.isfinite().all()


@each_kind
def test_many_views_are_scored_once_each_and_give_the_mean_over_pairs(kind):
    model = kind(num_prototypes=5).double()
    z, p = ([model.project(clusters()) for _ in range(4)] for _ in range(2))
    model.observe(z)
    for predictions in (z, p):
        ours = model.mean_log_prob(predictions, z, 3)
        loop = LatentModel.mean_log_prob(model, predictions, z, 3)
        torch.testing.assert_close(ours, loop, atol=1e-12, rtol=0)


def test_a_method_fits_its_prototypes_once_a_step_and_keeps_them_in_its_state(tmp_path):
    kwargs = {"latent": "prototypes", "num_prototypes": 6, "entropy": "kernel"}
    method = LDM(method_config(tmp_path, "ldm", **kwargs))
    key = "objective.latent.sums"
    assert method.state_dict()[key].shape == (6, 16)
    views = [method.objective.latent.project(torch.randn(12, 16)) for _ in range(2)]
    states = [method.state_dict()[key].clone()]
    for how in ({}, {"gathered": False}):  # as the comparison of gradients does
        method.match(views, **how)
        states.append(method.state_dict()[key].clone())
    assert not torch.equal(states[0], states[1])
    assert torch.equal(states[1], states[2])
    method.eval()
    method.match(views)
    assert torch.equal(states[1], method.state_dict()[key])


def test_blocks_of_a_product_fit_their_own_dimensions():
    model = ProductLatent([GaussianPlane(), SpherePrototypes(num_prototypes=4)], [3, 2])
    model.allocate(5)
    z = model.project(torch.randn(12, 5))
    model.observe([z, z])
    alone = SpherePrototypes(num_prototypes=4)
    alone.allocate(2)
    alone.observe([z[:, 3:], z[:, 3:]])
    torch.testing.assert_close(model.models[1].state_dict(), alone.state_dict())
    assert model.health(z) == alone.health(z[:, 3:])


def test_one_prototype_is_refused_as_views_would_have_nothing_in_common():
    with pytest.raises(ValueError, match="num_prototypes: expected a whole number from 2"):
        SpherePrototypes(num_prototypes=1)
