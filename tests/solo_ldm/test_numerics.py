"""The arithmetic that latent models and estimators share, one function at a time."""

from __future__ import annotations

import pytest
import torch

from solo_ldm import numerics, pairs
from solo_ldm.numerics import (
    at_least_single,
    check_pair,
    check_samples,
    narrow,
    safe_log,
    split_product,
    standardise,
    widen,
)

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", FLOATS)
def test_statistics_are_in_double_precision_and_come_back_in_single_at_least(dtype):
    x = torch.tensor([1.5, -2.0], dtype=dtype)
    assert widen(x).dtype == torch.float64
    assert widen(x).tolist() == [1.5, -2.0]
    single = torch.float64 if dtype == torch.float64 else torch.float32
    assert at_least_single(x).dtype == single
    assert at_least_single(x).tolist() == [1.5, -2.0]
    assert narrow(widen(x), x).dtype == single
    assert (widen(x) is x) == (dtype == torch.float64)
    assert (at_least_single(x) is x) == (dtype == single)


@pytest.mark.parametrize("function", [widen, at_least_single])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_that_a_narrow_type_cannot_hold_are_its_largest_numbers(function, dtype):
    x = torch.zeros(4, dtype=dtype, requires_grad=True)
    wide = function(x)
    huge = torch.finfo(wide.dtype).max
    upstream = torch.tensor([3.0, huge, -huge, -0.5], dtype=wide.dtype)
    (gradient,) = torch.autograd.grad(wide, x, upstream)
    largest = torch.finfo(dtype).max
    assert gradient.dtype == dtype
    assert gradient.tolist() == [3.0, largest, -largest, -0.5]


def test_standardised_columns_are_deviations_over_the_root_of_variance_and_ridge():
    x = torch.tensor([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]], dtype=torch.float64)
    root = (14.0 / 3.0 + 0.25) ** 0.5
    expected = torch.tensor([[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]], dtype=torch.float64) / root
    torch.testing.assert_close(standardise(x, 0.25), expected)


def test_the_logarithm_of_nothing_is_that_of_a_small_number():
    values = torch.tensor([0.0, 1e-31, 1e-30, 1e-29, 1.0], dtype=torch.float64)
    expected = torch.tensor([1e-30, 1e-30, 1e-30, 1e-29, 1.0], dtype=torch.float64).log()
    torch.testing.assert_close(safe_log(values), expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("shape", [(5, 7, 6), (3, 3000, 4), (1, 1, 1)])
def test_a_split_product_of_single_precision_has_the_digits_of_double(shape):
    """Of what rows and columns can reach: float32 products are wrong by 1e-7 of it and more."""
    n, k, m = shape
    a, b = torch.randn(n, k).double(), torch.randn(k, m).double()
    a[:, 0] *= 1e-12  # scales are those of rows and columns
    b[0] *= 1e12
    largest = k * a.abs().amax(dim=1)[:, None] * b.abs().amax(dim=0)
    assert ((split_product(a, b) - a @ b).abs() / largest).max() < 3e-9
    assert split_product(0.0 * a, b).abs().max() == 0.0


def test_distances_from_split_products_tell_near_duplicates_apart(monkeypatch):
    centre = 30.0 * torch.randn(1, 512) / 512**0.5
    z = torch.cat([centre + 1e-3 * torch.randn(8, 512), torch.randn(8, 512)])
    monkeypatch.setattr(numerics, "fast_double", lambda device: False)
    x = (z - z.mean(dim=0)).double()
    exact = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(pairs.squared_distances(x).sqrt(), exact, rtol=1e-3, atol=1e-9)


def test_samples_are_a_floating_matrix_of_enough_rows():
    check_samples(torch.zeros(3, 2), 3, "It", "more")
    for z in (torch.zeros(3), torch.zeros(3, 2, 1), torch.zeros(3, 2, dtype=torch.int64)):
        with pytest.raises(
            ValueError, match=r"It expects floating-point samples of shape \(B, D\)"
        ):
            check_samples(z, 3, "It", "more")
    with pytest.raises(ValueError, match="It needs at least 3 samples, got a batch of 2: more"):
        check_samples(torch.zeros(2, 2), 3, "It", "more")


def test_views_are_matrices_of_one_shape():
    check_pair(torch.zeros(3, 2), torch.zeros(3, 2))
    for one, other in (((3, 2), (3, 1)), ((3, 2), (2, 2)), ((3,), (3,)), ((3, 2, 1), (3, 2, 1))):
        with pytest.raises(ValueError, match="two views of the same samples"):
            check_pair(torch.zeros(one), torch.zeros(other))
