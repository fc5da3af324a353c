"""Scores of decoders beside chance, and folds pooled."""

import math

import numpy as np
import pytest
import torch

from predictive.decoding.fit import fit_linear
from predictive.decoding.intervals import coverage, decode_with_interval, fit_residual
from predictive.decoding.score import combine_folds, decode, score
from tests.support.predictive.series import autoregressive, normal, r2


def test_a_score_tells_of_a_relation_and_of_chance():
    x = autoregressive(600, 4)
    y = 3.0 * x[:, :2] + normal(600, 2)
    y[450] = math.nan
    result = score("linear", x[:400], y[:400], x[400:], y[400:])
    assert result.r2 > 0.7 > 0.2 > result.null_high > result.null_mean
    assert (result.num_train, result.num_test) == (400, 199)
    assert result.predictions.shape == (200, 2)
    assert result.r2 == r2(y[400:], result.predictions)
    distance = (y[400:] - result.predictions).norm(dim=1)
    assert result.median_absolute_error == pytest.approx(float(distance.nanmedian()), rel=0.02)


def test_the_null_is_the_same_pipeline_on_targets_shifted_by_at_least_a_tenth():
    x, y = autoregressive(50, 3), autoregressive(50, 1)
    result = score("linear", x, y, x, y, num_shifts=41)
    shifted = [r2(y, fit_linear(x, y.roll(shift, 0)).predict(x)) for shift in range(5, 46)]
    assert result.null_mean == pytest.approx(sum(shifted) / 41)
    assert result.null_high == pytest.approx(sorted(shifted)[39])  # rank ⌈0.95 · 42⌉


def test_unrelated_autocorrelated_series_rarely_pass_their_null():
    passed, nulls = 0, []
    # All series at once, since a loop over bins is slow. Too many pass of series that are short
    # beside their correlation time, here ten bins.
    features, targets = autoregressive(900, 60 * 3, 0.9), autoregressive(900, 60, 0.9)
    for x, y in zip(features.split(3, dim=1), targets.split(1, dim=1), strict=True):
        result = score("linear", x[:600], y[:600], x[600:], y[600:])
        passed += result.r2 > result.null_high
        nulls.append(result.null_mean)
    # Binomial(60, 1/21) is above 8 in less than one of 500 cases.
    assert passed <= 8
    assert sum(nulls) / 60 < 0.0


def test_each_decoder_scores_each_set_of_features():
    x, y = normal(200, 3), normal(200, 1)
    y = x[:, :1] + 0.1 * y
    features = {"latent": (x[:150], x[150:]), "noise": (normal(150, 2), normal(50, 2))}
    scores = decode(features, (y[:150], y[150:]), num_shifts=2)
    names = [(s.features, s.kind) for s in scores]
    assert names == [(n, k) for n in ("latent", "noise") for k in ("linear", "mlp")]
    assert min(s.r2 for s in scores[:2]) > 0.9 > 0.3 > max(s.r2 for s in scores[2:])
    with pytest.raises(ValueError, match="decoding from 'short': targets: expected at least 20"):
        decode({"short": (x[:5], x[150:])}, (y[:5], y[150:]))


def test_folds_are_pooled_over_their_predictions_and_not_averaged():
    x = torch.linspace(0.0, 1.0, 300, dtype=torch.float64)[:, None] + 0.1 * normal(300, 1)
    y = torch.linspace(0.0, 1.0, 300, dtype=torch.float64)[:, None]
    folds = []
    for k in range(3):
        held = torch.arange(300) // 100 == k
        parts = {"latent": (x[~held], x[held])}
        folds.append(decode(parts, (y[~held], y[held]), kinds=("linear",)))
    combined = combine_folds(folds)[0]
    predictions = torch.cat([fold[0].predictions for fold in folds])
    assert combined.r2 == pytest.approx(r2(y, predictions))
    assert combined.r2_per_fold == tuple(fold[0].r2 for fold in folds)
    assert combined.spread == pytest.approx(np.std(combined.r2_per_fold, ddof=1))
    assert combined.r2 > max(combined.r2_per_fold)  # the target hardly varies within a fold
    assert combined.num_test == 300
    assert combined.null_mean <= combined.null_high < combined.r2
    with pytest.raises(ValueError, match="same features and decoders"):
        combine_folds([folds[0], []])


def test_an_unknown_kind_and_no_shifts_are_refused():
    x, y = normal(30, 2), normal(30, 1)
    with pytest.raises(ValueError, match="kind: expected linear or mlp, got 'ridge'"):
        score("ridge", x, y, x, y)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="num_shifts: expected a whole number from 1"):
        score("linear", x, y, x, y, num_shifts=0)


def test_infinite_targets_are_as_unknown_as_nan_in_scores_and_intervals():
    x = normal(300, 3)
    y = x @ normal(3, 2) + 0.3 * normal(300, 2)
    found = []
    for unknown in (torch.nan, torch.inf, -torch.inf):
        given = y.clone()
        given[50:60, 0] = given[220:240, 1] = unknown
        train, held = slice(0, 200), slice(200, 300)
        decoder = fit_linear(x[train], given[train])
        residual = fit_residual(decoder, x[train], None, given[train])
        interval = decode_with_interval(decoder, x[held], None, residual)
        result = score("linear", x[train], given[train], x[held], given[held])
        covered = coverage(given[held], interval.low, interval.high)
        assert (result.num_train, result.num_test, covered.num_bins) == (190, 80, 80)
        ends = interval.high.flatten().tolist()
        (pooled,) = combine_folds([[result], [result]])
        for one in (result, pooled):
            ends += [one.r2, one.null_high, one.median_absolute_error]
        found.append([*ends, covered.fraction])
    assert found[0] == found[1] == found[2]
    assert torch.tensor(found).isfinite().all()
