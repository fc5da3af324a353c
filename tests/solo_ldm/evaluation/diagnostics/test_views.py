"""Alignment, uniformity, RankMe and LiDAR in closed form."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from solo_ldm.evaluation.diagnostics.views import alignment, lidar, rankme, uniformity


def test_alignment_is_the_distance_of_directions():
    z = torch.randn(20, 6)
    assert alignment(z, 3 * z) == pytest.approx(0.0, abs=1e-12)
    assert alignment(z, -z) == pytest.approx(4.0)
    angle = torch.tensor(0.4)
    turned = torch.stack([angle.cos(), angle.sin()]).expand(20, 2)
    straight = torch.tensor([1.0, 0.0]).expand(20, 2)
    assert alignment(straight, turned) == pytest.approx(2 - 2 * math.cos(0.4), rel=1e-6)
    assert alignment(straight, turned, power=1.0) == pytest.approx(2 * math.sin(0.2), rel=1e-6)


def test_uniformity_of_directions_at_equal_distances():
    assert uniformity(torch.tensor([[2.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8.0)
    assert uniformity(torch.eye(7)) == pytest.approx(-4.0)
    assert uniformity(torch.eye(7), precision=3.0) == pytest.approx(-6.0)
    assert uniformity(torch.ones(9, 4)) == pytest.approx(0.0, abs=1e-9)


def test_uniformity_is_that_of_all_pairs_whatever_the_blocks(monkeypatch):
    z = torch.randn(300, 5) + 1
    distances = torch.pdist(F.normalize(z.double()))
    expected = (-2 * distances.square()).exp().mean().log().item()
    assert uniformity(z) == pytest.approx(expected)
    monkeypatch.setattr("solo_ldm.pairs.BLOCK_BYTES", 8 * 300 * 7)
    assert uniformity(z) == pytest.approx(expected)


def test_uniformity_of_the_sphere_is_lowest_for_uniform_samples():
    """The limit on the circle: log(exp(−4) I₀(4)) for t = 2."""
    angle = torch.arange(2000, dtype=torch.float64) * (2 * math.pi / 2000)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    limit = math.log(torch.special.i0(torch.tensor(4.0).double()).item()) - 4.0
    assert uniformity(circle) == pytest.approx(limit, abs=2e-3)


def test_rankme_counts_equal_singular_values_and_does_not_centre():
    assert rankme(torch.eye(40)) == pytest.approx(40, rel=1e-4)
    assert rankme(torch.ones(50, 1) * torch.randn(1, 8)) == pytest.approx(1, rel=1e-4)
    features = torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0]))
    shares = torch.tensor([0.5, 0.25, 0.125, 0.125])
    expected = torch.special.entr(shares).sum().exp().item()
    assert rankme(features) == pytest.approx(expected, rel=1e-5)
    assert rankme(features[:, :3]) < expected
    assert rankme(torch.zeros(5, 3)) == 0.0


def _views(between: torch.Tensor, within: torch.Tensor) -> torch.Tensor:
    """Images of mean ± b_d e_d, views at ± w_d e_d from it: both covariances are diagonal."""
    dim = len(between)
    images = torch.cat([torch.diag(between), -torch.diag(between)])
    steps = torch.cat([torch.diag(within), -torch.diag(within)]) * dim**0.5
    return images[:, None] + steps[None] + 3.0


@pytest.mark.parametrize("chunk", [8192, 12])
def test_lidar_is_the_entropy_of_the_ratios_of_variance(chunk, monkeypatch):
    monkeypatch.setattr("solo_ldm.evaluation.diagnostics.views.CHUNK_SIZE", chunk)
    between = torch.tensor([3.0, 2.0, 1.0, 1.0]).double()
    within = torch.tensor([1.0, 0.5, 1.0, 2.0]).double()
    ratios = between.square() / 4 / (within.square() + 1e-4)
    expected = torch.special.entr(ratios / ratios.sum()).sum().exp().item()
    assert lidar(_views(between, within)) == pytest.approx(expected, rel=1e-4)
    assert lidar(_views(between, between)) == pytest.approx(4.0, rel=1e-3)
    large = (between.square() / 4) / (within.square() + 10.0)
    expected = torch.special.entr(large / large.sum()).sum().exp().item()
    assert lidar(_views(between, within), ridge=10.0) == pytest.approx(expected, rel=1e-4)


def test_lidar_of_equal_images_is_zero_and_of_few_images_their_number():
    assert lidar(torch.randn(1, 6, 3).expand(5, 6, 3)) == pytest.approx(0.0, abs=1e-6)
    few = torch.randn(4, 1, 50) + 1e-3 * torch.randn(4, 9, 50)
    assert 1.0 < lidar(few) <= 3.01


def test_what_are_no_views_is_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        alignment(torch.randn(3, 2), torch.randn(4, 2))
    with pytest.raises(ValueError, match="at least two images"):
        lidar(torch.randn(5, 1, 3))
    for measure in (uniformity, rankme, lambda z: alignment(z, z), lambda z: lidar(z[:, None])):
        with pytest.raises(ValueError, match=r"finite|two views"):
            measure(torch.full((3, 2), torch.nan))
