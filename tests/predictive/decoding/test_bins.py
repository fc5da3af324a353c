"""Bins that decoders are fitted to: which are known, how features are scaled, where chunks end."""

from __future__ import annotations

import pytest
import torch

from predictive.decoding.bins import chunk_edges, known_bins, standards, sums_of_squares, wide

NAN = float("nan")


def test_sums_of_squares_are_those_of_the_bins_that_are_known():
    targets = torch.tensor([[1.0, 2.0], [NAN, 0.0], [3.0, 6.0], [5.0, 1.0]])
    predictions = torch.tensor([[1.5, 2.0], [9.0, 9.0], [3.0, 4.0], [4.0, 2.0]])
    residual, total = sums_of_squares(targets, predictions)
    torch.testing.assert_close(residual, torch.tensor([1.25, 5.0], dtype=torch.float64))
    torch.testing.assert_close(total, torch.tensor([8.0, 14.0], dtype=torch.float64))


def test_values_are_taken_without_a_graph_in_double_precision():
    x = torch.ones(2, requires_grad=True)
    assert wide(x).dtype == torch.float64
    assert not wide(x).requires_grad


@pytest.mark.parametrize(
    ("targets", "predictions"), [((4, 2), (4, 1)), ((4,), (4,)), ((3, 2), (4, 2))]
)
def test_sums_of_squares_of_other_shapes_are_one_line(targets, predictions):
    with pytest.raises(ValueError, match="targets: expected the shape") as error:
        sums_of_squares(torch.zeros(targets), torch.zeros(predictions))
    assert "\n" not in str(error.value)


def test_without_a_known_target_there_is_no_r2():
    assert sums_of_squares(torch.tensor([[NAN], [1.0]]), torch.zeros(2, 1))[0].item() == 1.0
    with pytest.raises(ValueError, match="expected a known one in some bin, got none in 2"):
        sums_of_squares(torch.full((2, 2), NAN), torch.zeros(2, 2))


def bins(count, unknown=()):
    features = torch.arange(float(2 * count)).view(count, 2)
    targets = torch.arange(float(2 * count)).view(count, 2) * 3.0
    for number, where in enumerate(unknown):
        targets[where, number % 2] = NAN
    return features, targets, torch.arange(count) // 7


def test_a_bin_is_left_out_where_a_dimension_of_its_target_is_unknown():
    features, targets, groups = bins(23, unknown=(3, 9, 22))
    kept = [i for i in range(23) if i not in (3, 9, 22)]
    x, y, of = known_bins(features, targets, groups)
    assert (x.dtype, y.dtype) == (torch.float64, torch.float64)
    assert x.tolist() == features[kept].tolist()
    assert y.tolist() == targets[kept].tolist()
    assert of is not None
    assert of.tolist() == groups[kept].tolist()
    assert known_bins(features, targets, None)[2] is None
    features, targets, _ = bins(23, unknown=(3, 9, 22, 0))
    with pytest.raises(ValueError, match=r"at least 20 bins with a known .* got 19 of 23"):
        known_bins(features, targets, None)


@pytest.mark.parametrize(
    ("features", "targets", "groups", "message"),
    [
        ((25,), (25, 2), None, "over the same bins"),
        ((25, 2), (25,), None, "over the same bins"),
        ((25, 2), (24, 2), None, "over the same bins"),
        ((25, 0), (25, 2), None, "over the same bins"),
        ((25, 2), (25, 0), None, "over the same bins"),
        ((25, 2), (25, 2), (24,), r"groups: expected shape \(25,\), got \(24,\)"),
        ((25, 2), (25, 2), (25, 1), "groups: expected shape"),
    ],
)
def test_bins_whose_shapes_do_not_fit_are_one_line(features, targets, groups, message):
    given = None if groups is None else torch.zeros(groups)
    with pytest.raises(ValueError, match=message) as error:
        known_bins(torch.zeros(features), torch.zeros(targets), given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_features_must_be_finite_in_unknown_bins_too(value):
    features, targets, _ = bins(30, unknown=(4,))
    features[4, 1] = value
    with pytest.raises(ValueError, match="features: expected finite ones"):
        known_bins(features, targets, None)


def test_features_are_scaled_by_their_deviation_or_a_thousandth_of_the_largest():
    features = torch.tensor([[0.0, 5.0, 1e-9], [4000.0, 5.0, -1e-9], [2000.0, 5.0, 0.0]]).double()
    mean, scale = standards(features)
    largest = (8e6 / 3.0) ** 0.5
    expected = torch.tensor([largest, 1e-3 * largest, 1e-3 * largest], dtype=torch.float64)
    torch.testing.assert_close(scale, expected)
    torch.testing.assert_close(mean, torch.tensor([2000.0, 5.0, 0.0], dtype=torch.float64))
    mean, scale = standards(torch.full((3, 2), 7.0).double())
    assert (mean.tolist(), scale.tolist()) == ([7.0, 7.0], [1.0, 1.0])


def test_chunks_are_of_equal_length_without_sequences():
    assert chunk_edges(10, 4, None) == [0, 2, 5, 8, 10]
    assert chunk_edges(9, 3, None) == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("lengths", "num_chunks", "expected"),
    [
        ((3, 3, 3, 3), 2, [0, 6, 12]),
        ((1, 4, 7), 3, [0, 5, 12]),  # 4 and 8 are both nearest to 5
        ((2, 8, 2), 3, [0, 2, 10, 12]),
        ((12,), 3, [0, 4, 8, 12]),  # one sequence alone has no border
        ((1, 11), 2, [0, 1, 12]),
        ((5, 7), 2, [0, 5, 12]),
    ],
)
def test_chunks_end_at_the_borders_of_sequences_that_are_nearest(lengths, num_chunks, expected):
    groups = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    assert chunk_edges(12, num_chunks, groups) == expected
