"""The arithmetic that latent models and estimators share, one function at a time."""

from __future__ import annotations

import pytest
import torch

from solo_ldm.numerics import (
    at_least_single,
    category_table,
    check_pair,
    check_samples,
    narrow,
    safe_log,
    squared_distances,
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


def test_squared_distances_and_their_gradients_are_those_of_differences():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 6, dtype=torch.float64)
    direct = (x[:, None] - x).square().sum(dim=2)
    ours = squared_distances(x)
    torch.testing.assert_close(ours, direct, atol=1e-12, rtol=0)
    assert ours.diagonal().eq(0.0).all()
    (expected,) = torch.autograd.grad((weights * direct).sum(), x)
    (gradient,) = torch.autograd.grad((weights * ours).sum(), x)
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=0)


def test_distances_are_never_negative_and_keep_their_digits_far_from_the_origin():
    x = torch.randn(50, 3, dtype=torch.float64)
    far = x + 1e6
    torch.testing.assert_close(squared_distances(far), squared_distances(x), atol=1e-8, rtol=0)
    duplicates = squared_distances((x + 1e3 * torch.randn(3).double()).repeat(2, 1))
    assert duplicates.min() >= 0.0


def test_standardised_columns_are_deviations_over_the_root_of_variance_and_ridge():
    x = torch.tensor([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]], dtype=torch.float64)
    root = (14.0 / 3.0 + 0.25) ** 0.5
    expected = torch.tensor([[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]], dtype=torch.float64) / root
    torch.testing.assert_close(standardise(x, 0.25), expected)


def test_the_logarithm_of_nothing_is_that_of_a_small_number():
    values = torch.tensor([0.0, 1e-31, 1e-30, 1e-29, 1.0], dtype=torch.float64)
    expected = torch.tensor([1e-30, 1e-30, 1e-30, 1e-29, 1.0], dtype=torch.float64).log()
    torch.testing.assert_close(safe_log(values), expected, atol=1e-13, rtol=0)


def test_the_table_of_categories_is_the_mean_over_pairs():
    z1 = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    z2 = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    expected = torch.tensor([[0.25, 0.5], [0.25, 0.0]])
    torch.testing.assert_close(category_table(z1, z2), expected)


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
