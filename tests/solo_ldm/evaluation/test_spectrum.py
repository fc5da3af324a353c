"""Health of latents against its definitions, and what is named as wrong."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from solo_ldm.evaluation.spectrum import (
    Health,
    covariance_spectrum,
    diagnose,
    effective_rank,
    health,
)


@pytest.mark.parametrize("dim", [2, 16])
def test_effective_rank_of_an_isotropic_gaussian_is_its_dimension(dim):
    assert effective_rank(torch.randn(20000, dim)) == pytest.approx(dim, rel=0.01)


def test_effective_rank_of_one_direction_is_one_and_of_a_point_zero():
    line = torch.randn(100, 1) * torch.randn(1, 8) + 5
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.ones(100, 8)) == 0


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_spectrum_is_that_of_the_covariance(shape):
    features = torch.randn(shape, dtype=torch.float64) + 3
    expected = torch.linalg.eigvalsh(torch.cov(features.T)).flip(0).clamp_min(0)
    torch.testing.assert_close(covariance_spectrum(features), expected)


def test_mean_cosine_equals_the_mean_over_pairs():
    z = torch.randn(30, 6, dtype=torch.float64) + 0.5
    unit = F.normalize(z)
    pairs = (unit @ unit.T)[~torch.eye(30, dtype=torch.bool)]
    assert health(z).mean_cosine == pytest.approx(pairs.mean().item())


@pytest.mark.parametrize("z", [torch.zeros(20, 4), torch.ones(20, 4), torch.full((20, 4), 1e30)])
def test_health_of_a_collapsed_batch_is_finite(z):
    assert all(math.isfinite(value) for value in health(z))


@pytest.mark.parametrize(
    ("z", "sphere", "named"),
    [
        (torch.randn(200, 16), False, None),
        (F.normalize(torch.randn(200, 16)), True, None),
        (0.001 * torch.randn(200, 16) + 1, False, "Complete collapse"),
        (F.normalize(0.01 * torch.randn(200, 16) + 1), True, "Complete collapse"),
        (torch.randn(200, 1) * torch.randn(1, 16), False, "Dimensional collapse"),
        (1e6 * torch.randn(200, 16), False, "explode"),
        (torch.full((200, 16), float("nan")), False, "diverged"),
    ],
    ids=["plane", "sphere", "point", "cap", "line", "explosion", "nan"],
)
def test_what_is_wrong_with_latents_is_named(z, sphere, named):
    warning = diagnose(health(z), sphere=sphere)
    if named is None:
        assert warning is None
    else:
        assert warning is not None
        assert named in warning
        assert "\n" not in warning


def test_latents_on_their_way_out_of_a_collapse_are_not_warned_of():
    small, larger = (health(s * torch.randn(200, 16)) for s in (0.01, 0.02))
    assert diagnose(larger, previous=small, sphere=False) is None
    assert diagnose(small, previous=larger, sphere=False) is not None


@pytest.mark.parametrize(
    ("num_samples", "num_dims", "least"),
    [
        (200, 1, 0.5),
        (200, 2, 1.0),
        (200, 3, 1.5),
        (200, 4, 2.0),
        (200, 100, 2.0),
        (300, 250, 5.0),
        (3, 250, 1.0),
        (101, 250, 2.0),
    ],
)
def test_a_rank_is_too_low_below_two_half_of_what_there_is_or_a_fiftieth_of_much(
    num_samples, num_dims, least
):
    for rank, ill in ((least - 0.01, True), (least + 0.01, False)):
        state = Health(1.0, 1.0, rank, 0.0, num_samples, num_dims)
        assert (diagnose(state) is not None) == ill


@pytest.mark.parametrize("sphere", [False, True])
def test_a_collapse_that_recedes_by_a_twentieth_since_the_last_check_is_not_warned_of(sphere):
    healthy = Health(1.0, 1.0, 50.0, 0.0, 200, 100)
    cases = {"std_mean": (1e-3 if sphere else 0.05, 1.0), "effective_rank": (2.0, 1.0)}
    if sphere:
        cases["mean_cosine"] = (0.99, -1.0)
    for name, (bound, sign) in cases.items():
        ill = healthy._replace(**{name: bound - sign * 1e-5})
        assert diagnose(ill, sphere=sphere) is not None
        assert diagnose(healthy._replace(**{name: bound + sign * 1e-5}), sphere=sphere) is None
        measure = getattr(ill, name) if name != "mean_cosine" else 1.0 - ill.mean_cosine
        for factor, warned in ((1.04, True), (1.06, False)):
            before = measure / factor
            before = 1.0 - before if name == "mean_cosine" else before
            previous = ill._replace(**{name: before})
            assert (diagnose(ill, previous, sphere) is not None) == warned
