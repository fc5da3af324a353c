"""Health of latents against its definitions, and what is named as wrong."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from solo_ldm.evaluation.spectrum import covariance_spectrum, diagnose, effective_rank, health


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
