"""Power laws against spectra that are made of them."""

from __future__ import annotations

import pytest
import torch

from solo_ldm.evaluation.diagnostics.power_law import power_law
from solo_ldm.evaluation.spectrum import covariance_spectrum

RANKS = torch.arange(1, 401, dtype=torch.float64)


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.3])
def test_a_power_law_is_found_and_ends_with_the_spectrum(exponent):
    law = power_law(5.0 * RANKS**-exponent)
    assert law is not None
    assert law.exponent == pytest.approx(exponent, abs=1e-9)
    assert law.scale == pytest.approx(5.0)
    assert law.r_squared == pytest.approx(1.0)
    assert (law.first, law.last, law.cutoff, law.num_above_rounding) == (11, 400, 400, 400)


@pytest.mark.parametrize("cutoff", [40, 100, 250])
def test_a_broken_law_ends_at_its_break(cutoff):
    values = RANKS**-1.0 * (RANKS / cutoff).clamp(min=1.0) ** -4.0
    law = power_law(values)
    assert law is not None
    assert law.cutoff == law.last == cutoff
    assert law.exponent == pytest.approx(1.0)
    assert law.r_squared == pytest.approx(1.0)
    whole = power_law(values, last=400)
    assert whole is not None
    assert whole.cutoff == cutoff
    assert whole.exponent > 1.1
    assert whole.r_squared < 0.99


def test_a_bend_that_is_no_cut_off_does_not_end_the_law():
    """Steeper by less than one, steeper by less than the law itself, and less steep."""
    for slope, change in ((0.5, -0.6), (2.0, -1.6), (2.0, 1.5)):
        law = power_law(RANKS**-slope * (RANKS / 100).clamp(min=1.0) ** change)
        assert law is not None
        assert law.cutoff == 400


@pytest.mark.parametrize("left", [0.0, 1e-13])
def test_rounding_is_not_part_of_the_law(left):
    values = torch.where(RANKS <= 60, RANKS**-0.8, left)
    law = power_law(values)
    assert law is not None
    assert (law.first, law.cutoff, law.num_above_rounding) == (8, 60, 60)
    assert law.exponent == pytest.approx(0.8)


def test_every_factor_of_the_rank_counts_alike():
    """Of 1/k weights: what a disturbance of the first half of the decades does is not drowned."""
    values = RANKS**-1.0
    values[10:62] *= 1.0 + 0.1 * torch.linspace(1, 0, 52, dtype=torch.float64)
    law = power_law(values)
    assert law is not None
    x, y, w = RANKS[10:].log(), values[10:].log(), 1 / RANKS[10:]
    design = torch.stack([torch.ones_like(x), x], dim=1)
    expected = torch.linalg.solve(design.T @ (w[:, None] * design), design.T @ (w * y))
    assert law.exponent == pytest.approx(-expected[1].item())
    assert law.scale == pytest.approx(expected[0].exp().item())
    missed = (w * (y - design @ expected).square()).sum()
    total = (w * (y - (w * y).sum() / w.sum()).square()).sum()
    assert law.r_squared == pytest.approx((1 - missed / total).item())


def test_the_exponent_of_many_samples_is_that_of_their_covariance():
    features = torch.randn(20000, 100) * torch.arange(1, 101).float().pow(-0.5)
    law = power_law(covariance_spectrum(features))
    assert law is not None
    assert law.exponent == pytest.approx(1.0, abs=0.05)
    assert law.cutoff == 100


def test_few_eigenvalues_have_no_law_and_others_are_refused():
    assert power_law(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.0, 0.0])) is None
    assert power_law(torch.zeros(50)) is None
    law = power_law(torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5]))
    assert law is not None
    assert law.first == 1
    for values, words in (
        (torch.tensor([1.0, 2.0]), "descending"),
        (torch.tensor([1.0, -2.0]), "not negative"),
        (torch.tensor([float("nan"), 0.0]), "finite"),
        (torch.ones(3, 3), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            power_law(values)
    for first, last in ((0, None), (5, 6), (5, 401)):
        with pytest.raises(ValueError, match="ranks 1 to 400"):
            power_law(1 / RANKS, first, last)
