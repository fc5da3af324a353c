"""Log-densities written out pair by pair, what autocast must not change, and defaults."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solo_ldm.latents import (
    LATENTS,
    CategoricalSimplex,
    ConditionalGaussian,
    CorrelatedPlane,
    FittedCategories,
    GaussianPlane,
    LatentModel,
    MeanDirectionSphere,
    ProductLatent,
    VonMisesFisherSphere,
    WhitenedPlane,
)
from tests.support.methods.cells import ESTIMATORS


def views(count: int = 7, dim: int = 3) -> tuple[Tensor, Tensor]:
    z = torch.randn(count, dim, dtype=torch.float64)
    return z, z + 0.5 * torch.randn(count, dim, dtype=torch.float64)


def test_on_the_plane_it_is_minus_the_mean_square_of_the_difference():
    z1, z2 = views()
    expected = [
        -2.5 * sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / 3
        for x, y in zip(z1.tolist(), z2.tolist(), strict=True)
    ]
    ours = GaussianPlane(2.5).log_prob(z1, z2)
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(GaussianPlane().project(z1), z1)


def test_on_the_sphere_it_is_the_cosine():
    z1, z2 = (VonMisesFisherSphere().project(z) for z in views())
    torch.testing.assert_close(z1.norm(dim=1), torch.ones(7, dtype=torch.float64))
    expected = torch.tensor([2.5 * float(x @ y) for x, y in zip(z1, z2, strict=True)]).double()
    ours = VonMisesFisherSphere(2.5).log_prob(z1, z2)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    assert VonMisesFisherSphere().project(torch.zeros(2, 3)).eq(0.0).all()


def test_around_the_mean_direction_it_is_the_largest_likelihood_over_directions():
    """κ ‖z̄‖ = max_μ (κ/V) Σ_i z_iᵀμ, at μ = z̄/‖z̄‖, for pairs and for many views."""
    model = MeanDirectionSphere(3.0)
    z = [model.project(torch.randn(5, 4, dtype=torch.float64)) for _ in range(6)]
    directions = model.project(torch.randn(20_000, 4, dtype=torch.float64))
    for views, ours in (
        (z[:2], model.log_prob(*z[:2]).mean()),
        (z, model.mean_log_prob(z, z, 6)),
    ):
        mean = torch.stack(views).mean(dim=0)
        largest = 3.0 * (mean @ directions.T).amax(dim=1).mean()
        assert largest <= ours <= largest + 0.01
        at_mean = 3.0 * (mean * model.project(mean)).sum(dim=1).mean()
        torch.testing.assert_close(ours, at_mean, atol=1e-12, rtol=0)
    predicted = model.mean_log_prob(z[:3], z[3:], 3)  # of predictions it is of pairs
    torch.testing.assert_close(predicted, LatentModel.mean_log_prob(model, z[:3], z[3:], 3))


def test_opposite_views_have_no_mean_direction_and_a_gradient_of_zero():
    z = MeanDirectionSphere().project(torch.randn(5, 4)).requires_grad_()
    MeanDirectionSphere().log_prob(z, -z.detach()).sum().backward()
    assert z.grad is not None
    assert z.grad.eq(0.0).all()


def test_correlated_views_have_their_gaps_weighed_by_their_mean_gap():
    """−λ Σ_d (1 − C_dd) (1 − x1_d x2_d), and in the mean Barlow Twins' invariance."""
    z1, z2 = views()
    x1, x2 = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-3).sqrt() for z in (z1, z2))
    correlation = (x1 * x2).mean(0)
    expected = -2.5 * ((1 - correlation) * (1 - x1 * x2)).sum(dim=1)
    ours = CorrelatedPlane(2.5, ridge=1e-3).log_prob(z1, z2)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(ours.mean(), -2.5 * (1 - correlation).square().sum())


@pytest.mark.parametrize("ridge", [1e-9, 0.5])
def test_whitened_views_have_the_distance_of_their_directions(ridge):
    z1, z2 = views(40, 4)
    directions = []
    for z in (z1, z2):
        lower = torch.linalg.cholesky(torch.cov(z.T) + ridge * torch.eye(4, dtype=z.dtype))
        white = (z - z.mean(0)) @ torch.linalg.inv(lower).T
        directions.append(white / white.norm(dim=1, keepdim=True))
    expected = -1.7 * (directions[0] - directions[1]).square().sum(dim=1)
    ours = WhitenedPlane(1.7, ridge).log_prob(z1, z2)
    torch.testing.assert_close(ours, expected, atol=1e-8, rtol=0)


def test_whitening_needs_more_samples_than_dimensions():
    assert WhitenedPlane().log_prob(*views(4, 3)).isfinite().all()
    with pytest.raises(ValueError, match="whitening 3 dimensions needs more samples"):
        WhitenedPlane().log_prob(*views(3, 3))


def test_a_batch_that_is_all_alike_is_whitened_whatever_its_size():
    for size in (1e-20, 1.0, 1e9):
        z = torch.full((6, 3), size, dtype=torch.float64)
        z[0] += size * 1e-3
        assert WhitenedPlane().log_prob(z, z.flip(0)).isfinite().all()


def test_a_match_probability_at_chance_is_refused():
    for probability, count in ((0.5, 2), (0.25, 4)):
        latent = CategoricalSimplex(probability, first_match_probability=0.9)
        with pytest.raises(ValueError, match=f"more than chance, 1/{count}"):
            latent.temperature(count)
        assert latent.temperature(count + 1) > 0.0


@pytest.mark.parametrize("name", LATENTS)
def test_autocast_changes_no_density(name):
    """Half precision is for networks: 1e-3 of a density would be its rounding."""
    latent = LATENTS[name]()
    latent.at(1.0)
    h1, h2 = torch.randn(32, latent.prediction_dim(10)), torch.randn(32, 10)
    z1, z2 = latent.prediction(h1), latent.project(h2)
    expected = latent.log_prob(z1, z2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = latent.log_prob(z1, z2)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_autocast_changes_no_entropy(name):
    kind = ESTIMATORS[name]
    estimator = kind(kind.supports[0])
    z1, z2 = (torch.randn(32, 10).softmax(dim=1) for _ in range(2))
    for call in (estimator.joint, lambda *z: estimator.marginal(z[0]), estimator.pooled):
        expected = call(z1, z2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = call(z1, z2)
        assert mixed.dtype == torch.float32
        torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_views_of_other_shapes_have_no_entropy(name):
    kind = ESTIMATORS[name]
    estimator = kind(kind.supports[0])
    for over in (estimator.joint, estimator.pooled):
        for other in ((8, 4), (9, 3)):
            with pytest.raises(ValueError, match="two views of the same samples"):
                over(torch.rand(8, 3), torch.rand(other))


@pytest.mark.parametrize("name", LATENTS)
def test_views_of_other_shapes_have_no_density(name):
    latent = LATENTS[name]()
    dim = latent.prediction_dim(3)
    shapes = [((8, dim), (9, 3)), ((dim,), (3,)), ((8, dim, 1), (8, 3, 1))]
    if name != "conditional":
        shapes.append(((8, 3), (8, 4)))
    for one, other in shapes:
        with pytest.raises(ValueError, match="expected"):
            latent.log_prob(torch.rand(one), torch.rand(other))


DEFAULTS = {
    "kernel": {
        "kernel_precision": 5.0,
        "leave_one_out": False,
        "similar_share": 0.0,
        "similar_weight": 0.0,
    },
    "neighbour": {"num_neighbours": 3, "norm": 2.0, "clip_quantile": 0.9},
    "logdet": {"ridge": 1e-6},
    "logdet_expansion": {"ridge": 1e-6},
    "coding_rate": {"distortion": 0.5},
    "sliced": {"num_slices": 1024, "num_points": 17, "largest_frequency": 3.0},
    "vicreg": {
        "variance_weight": 25.0,
        "covariance_weight": 1.0,
        "target_std": 1.0,
        "ridge": 1e-4,
    },
    "redundancy": {"redundancy_weight": 0.0051, "ridge": 1e-5},
    "plug_in": {},
    "logistic": {"kernel_precision": 5.0, "bias": -10.0},
    "none": {},
}
DEFAULTS_OF_LATENTS = {
    "plane": {"prediction_precision": 5.0},
    "sphere": {
        "prediction_precision": 5.0,
        "learn_precision": False,
        "largest_precision": 100.0,
    },
    "mean_direction": {"prediction_precision": 200.0},
    "correlated": {"prediction_precision": 1.0, "ridge": 1e-5},
    "whitened": {"prediction_precision": 1.0, "ridge": 1e-9},
    "huber": {"prediction_precision": 1.0, "huber_beta": 1.0},
    "conditional": {
        "covariance": "diagonal",
        "covariance_rank": 4,
        "smallest_std": 0.1,
        "largest_std": 2.0,
        "covariance_warm_up": 0.1,
    },
    "categorical": {
        "match_probability": 0.99,
        "first_match_probability": 0.8,
        "temperature_decay": 4.0,
        "softmax_temperature": 1.0,
    },
    "categorical_fitted": {"softmax_temperature": 1.0},
    "categorical_conditional": {"prediction_precision": 1.0},
    "prototypes": {
        "prediction_precision": 10.0,
        "num_prototypes": 32,
        "prototype_momentum": 0.99,
    },
    "prototypes_plane": {
        "prediction_precision": 5.0,
        "num_prototypes": 32,
        "prototype_momentum": 0.99,
    },
}


def test_defaults_are_those_of_the_papers():
    assert DEFAULTS.keys() == ESTIMATORS.keys()
    assert DEFAULTS_OF_LATENTS.keys() == LATENTS.keys()
    for name, expected in DEFAULTS.items():
        made = ESTIMATORS[name](ESTIMATORS[name].supports[0])
        assert {key: getattr(made, key) for key in expected} == expected
    for name, expected in DEFAULTS_OF_LATENTS.items():
        made = LATENTS[name]()
        assert {key: getattr(made, key) for key in expected} == expected
    assert LATENTS["plane"]().schedule(3) == {}
    needs = {name for name, kind in LATENTS.items() if kind.needs_predictor}
    assert needs == {"conditional", "categorical_conditional"}
    prevents = {name for name, kind in LATENTS.items() if kind.prevents_collapse}
    assert prevents == {"whitened"}
    follows = {name for name, kind in LATENTS.items() if kind.follows_latents}
    assert follows == {"categorical_fitted"}
    assert FittedCategories.support == "simplex"


def test_a_product_takes_blocks_of_one_dimension_and_refuses_what_does_not_add_up():
    plane, sphere = GaussianPlane(), VonMisesFisherSphere()
    product = ProductLatent([plane, sphere], [1, 3])
    assert product.prediction_dim(4) == 4
    assert (product.columns("plane"), product.columns("sphere")) == (slice(0, 1), slice(1, 4))
    assert product.columns("simplex") is None
    for models, dims in (([], []), ([plane], [1, 2]), ([plane, sphere], [0, 3])):
        with pytest.raises(ValueError, match="a product needs at least one model"):
            ProductLatent(models, dims)
    with pytest.raises(ValueError, match="the blocks have 4 dimensions, the latents 5"):
        product.prediction_dim(5)
    for wrong in (torch.rand(8, 5), torch.rand(4), torch.rand(2, 4, 4)):
        for split in (product.split, product.split_predictions, product.project):
            with pytest.raises(ValueError, match=r"expected|got"):
                split(wrong)


def test_a_product_passes_the_progress_to_its_blocks_and_their_schedules_back():
    blocks = [CategoricalSimplex(), GaussianPlane()]
    product = ProductLatent(blocks, [6, 2])
    product.at(0.5)
    assert product.schedule(8) == {"temperature": blocks[0].temperature(6)}
    fresh = CategoricalSimplex()
    assert fresh.temperature(6) > blocks[0].temperature(6)


@pytest.mark.parametrize("name", ["match_probability", "first_match_probability"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_match_probability_is_between_zero_and_one(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a number above 0 and below 1"):
        CategoricalSimplex(**{name: value})
    assert CategoricalSimplex(**{name: 0.9}).temperature(10) > 0.0


def test_bounds_of_a_conditional_gaussian_differ_and_a_rank_is_at_most_the_dimension():
    with pytest.raises(ValueError, match="smallest_std: expected less than"):
        ConditionalGaussian(smallest_std=0.5, largest_std=0.5)
    low_rank = ConditionalGaussian("low_rank", covariance_rank=4)
    assert low_rank.prediction_dim(4) == 24
    with pytest.raises(ValueError, match="covariance_rank: expected at most 3"):
        low_rank.prediction_dim(3)


def test_in_a_product_a_prediction_comes_first():
    conditional, plane = ConditionalGaussian(), GaussianPlane()
    product = ProductLatent([conditional, plane], [3, 3])
    predicted, z = torch.randn(8, 9).double(), torch.randn(8, 6).double()
    expected = conditional.log_prob(predicted[:, :6], z[:, :3])
    expected = expected + plane.log_prob(predicted[:, 6:], z[:, 3:])
    torch.testing.assert_close(product.log_prob(predicted, z), expected)
