"""Decoders, their scores beside chance, smoothing without the future, and intervals."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from predictive.decoding import (
    combine_folds,
    decode,
    fit_linear,
    fit_mlp,
    r2,
    r2_per_dim,
    score,
    smooth_causally,
)
from predictive.intervals import ResidualModel, coverage, decode_with_interval, fit_residual


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def autoregressive(bins, dim, memory=0.95):
    values, noise = [normal(dim)], (1.0 - memory**2) ** 0.5
    for _ in range(bins - 1):
        values.append(memory * values[-1] + noise * normal(dim))
    return torch.stack(values)


def close(actual, expected, atol=1e-9):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


# Decoders


def test_the_linear_decoder_recovers_an_affine_map_exactly():
    x, weight = normal(200, 4) * torch.tensor([1.0, 10.0, 0.1, 1.0]) + 3.0, normal(4, 2)
    decoder = fit_linear(x[:100], x[:100] @ weight - 5.0)
    assert r2(x[100:] @ weight - 5.0, decoder.predict(x[100:])) == pytest.approx(1.0, abs=1e-9)
    decoder = fit_linear(x[:100], x[:100] @ weight - 5.0, penalty=0.0)
    close(decoder.predict(x[100:]), x[100:] @ weight - 5.0)


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 2.0])
def test_the_linear_decoder_is_the_ridge_of_scikit_learn_on_standardised_features(penalty):
    x, y = normal(150, 6) @ normal(6, 6) + 2.0, normal(150, 3) - 4.0
    scaler = StandardScaler().fit(x[:100])
    expected = Ridge(alpha=100 * penalty, solver="cholesky" if penalty else "svd")
    expected.fit(scaler.transform(x[:100]), y[:100])
    actual = fit_linear(x[:100], y[:100], penalty).predict(x[100:])
    close(actual, torch.from_numpy(expected.predict(scaler.transform(x[100:]))))


def test_the_penalty_is_the_one_with_the_least_error_on_left_out_chunks():
    x, y = normal(100, 20), normal(100, 1)
    y = y + x[:, :1]
    errors = {}
    for penalty in np.logspace(-6, 2, 17):
        scaler = StandardScaler().fit(x)
        scaled = scaler.transform(x)
        errors[penalty] = 0.0
        for chunk in np.split(np.arange(100), 5):
            rest = np.setdiff1d(np.arange(100), chunk)
            ridge = Ridge(alpha=80 * penalty).fit(scaled[rest], y[rest])
            error = ridge.predict(scaled[chunk]).ravel() - y[chunk].numpy().ravel()
            errors[penalty] += float((error**2).sum())
    assert fit_linear(x, y).penalty == pytest.approx(min(errors, key=errors.__getitem__))


def test_chunks_end_where_sequences_end():
    # A feature that names the sequence predicts only within a sequence: across, it is useless.
    groups = torch.arange(4).repeat_interleave(40)
    x = torch.nn.functional.one_hot(groups).double()
    y = normal(4, 1)[groups]
    split = fit_linear(x, y)
    whole = fit_linear(x, y, groups=groups)
    assert whole.penalty > split.penalty


def test_a_decoder_of_more_features_than_bins_stays_finite():
    x, y = normal(30, 60), normal(30, 1)
    for penalty in (None, 0.0):
        assert fit_linear(x, y, penalty).predict(normal(5, 60)).isfinite().all()


def test_the_perceptron_decodes_what_no_affine_map_can():
    x = normal(1100, 3)
    y = torch.cat([x[:, :1] ** 2, x[:, 1:2] * x[:, 2:]], dim=1) * 50.0 + 1000.0
    linear, mlp = fit_linear(x[:800], y[:800]), fit_mlp(x[:800], y[:800], max_epochs=40)
    assert r2(y[800:], linear.predict(x[800:])) < 0.1
    assert r2(y[800:], mlp.predict(x[800:])) > 0.7


def test_the_perceptron_is_the_same_for_the_same_seed_and_not_for_another():
    x, y = normal(200, 3), normal(200, 1)
    first, again, other = (fit_mlp(x, y, seed=seed, max_epochs=3) for seed in (0, 0, 1))
    assert torch.equal(first.predict(x), again.predict(x))
    assert not torch.equal(first.predict(x), other.predict(x))


def test_the_perceptron_keeps_the_weights_that_were_best_on_bins_it_was_not_fitted_on():
    x, y = normal(300, 30), normal(300, 1)
    decoder = fit_mlp(x, y, max_epochs=60)
    assert decoder.num_epochs < 30
    assert r2(y[120:150], decoder.predict(x[120:150])) > -0.2  # the bins in the middle


def test_a_feature_that_was_all_but_silent_when_fitted_does_no_harm_later():
    x = normal(600, 4)
    y = x[:, :1].clone()
    x[:, 3] = 0.0
    x[0, 3] = 1e-18
    test, target = x.clone(), y.clone()
    test[:, 3] = 1.0
    for decoder in (fit_linear(x, y), fit_mlp(x, y, max_epochs=10)):
        assert r2(target, decoder.predict(test)) > 0.9


@pytest.mark.parametrize("fit", [fit_linear, fit_mlp])
def test_bins_without_a_target_are_ignored(fit):
    x, y = normal(100, 3), normal(100, 2)
    keep = torch.arange(100) % 4 != 0
    gaps = y.clone()
    gaps[~keep, 1] = math.nan
    close(fit(x, gaps).predict(x), fit(x[keep], y[keep]).predict(x))
    assert r2(gaps, x[:, :2]) == r2(y[keep], x[keep, :2])


@pytest.mark.parametrize("fit", [fit_linear, fit_mlp])
def test_samples_of_features_are_decoded_as_each_by_itself(fit):
    decoder = fit(normal(100, 3), normal(100, 2))
    samples = normal(7, 11, 3)
    assert decoder.predict(samples).shape == (7, 11, 2)
    close(decoder.predict(samples)[4], decoder.predict(samples[4]), atol=1e-6)


@pytest.mark.parametrize("fit", [fit_linear, fit_mlp])
@pytest.mark.parametrize(
    ("features", "targets", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, 1), "at least 20 bins with a known target, got 0"),
        (torch.zeros(30, 3), torch.full((30, 1), math.nan), "got 0 of 30"),
        (torch.zeros(30, 3), torch.zeros(29, 1), "over the same bins"),
        (torch.zeros(30, 3), torch.zeros(30), "over the same bins"),
        (torch.full((30, 3), math.nan), torch.zeros(30, 1), "features must be finite"),
    ],
)
def test_too_little_to_fit_gives_one_line(fit, features, targets, message):
    with pytest.raises(ValueError, match=message) as caught:
        fit(features, targets)
    assert "\n" not in str(caught.value)


def test_settings_out_of_range_are_refused():
    x, y = normal(30, 2), normal(30, 1)
    with pytest.raises(ValueError, match="penalty must be at least 0"):
        fit_linear(x, y, -1.0)
    with pytest.raises(ValueError, match="must be at least 1"):
        fit_mlp(x, y, hidden=(0,))
    with pytest.raises(ValueError, match="linear, mlp, got 'ridge'"):
        score("ridge", x, y, x, y)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="num_shifts must be at least 1"):
        score("linear", x, y, x, y, num_shifts=0)
    with pytest.raises(ValueError, match="one number a bin"):
        fit_linear(x, y, groups=torch.zeros(3))


# Scores


def test_r2_is_that_of_scikit_learn():
    y, prediction = normal(50, 3) * torch.tensor([1.0, 5.0, 0.2]), normal(50, 3)
    pooled = r2_score(y, prediction, multioutput="variance_weighted")
    assert r2(y, prediction) == pytest.approx(pooled)
    raw = r2_score(y, prediction, multioutput="raw_values")
    close(r2_per_dim(y, prediction), torch.as_tensor(raw))
    with pytest.raises(ValueError, match="no bin with a known target"):
        r2(y * math.nan, prediction)
    with pytest.raises(ValueError, match="the same shape"):
        r2(y, prediction[:, :1])


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
    x, y = autoregressive(100, 3), autoregressive(100, 1)
    result = score("linear", x, y, x, y, num_shifts=81)
    shifted = [r2(y, fit_linear(x, y.roll(shift, 0)).predict(x)) for shift in range(10, 91)]
    assert result.null_mean == pytest.approx(sum(shifted) / 81)
    assert result.null_high == pytest.approx(sorted(shifted)[77])  # rank ⌈0.95 · 82⌉


def test_unrelated_autocorrelated_series_rarely_pass_their_null():
    passed, nulls = 0, []
    for _ in range(60):
        x, y = autoregressive(300, 3), autoregressive(300, 1)
        result = score("linear", x[:200], y[:200], x[200:], y[200:])
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
    with pytest.raises(ValueError, match="decoding from 'short': fitting a decoder"):
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


# Smoothing


def test_smoothing_is_the_weighted_mean_of_the_past():
    counts = torch.poisson(torch.full((2, 40, 3), 0.5))
    lengths = torch.tensor([40, 25])
    mask = torch.arange(40) < lengths[:, None]
    smooth = smooth_causally(counts, mask, 0.025, 0.1)
    for i, t in ((0, 0), (0, 17), (0, 39), (1, 24)):
        weights = torch.exp(-0.25 * torch.arange(t, -1, -1, dtype=torch.float64))
        close(smooth[i, t], weights @ counts[i, : t + 1].double() / weights.sum())
    assert not smooth[1, 25:].any()


def test_smoothing_never_uses_the_future_nor_another_sequence():
    counts = normal(3, 100, 2)
    mask = torch.ones(3, 100, dtype=torch.bool)
    before = smooth_causally(counts, mask, 0.025, 1.0)
    counts[1, 50] += 1e6
    after = smooth_causally(counts, mask, 0.025, 1.0)
    assert torch.equal(before[1, :50], after[1, :50])
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert (before[1, 50:] != after[1, 50:]).all()


def test_smoothing_leaves_a_constant_and_skips_masked_bins():
    counts = torch.full((1, 30, 1), 2.0)
    counts[0, 10:15] = math.nan
    mask = counts[:, :, 0].isfinite()
    smooth = smooth_causally(counts, mask, 1.0, 3.0)
    close(smooth[mask], torch.full((25, 1), 2.0, dtype=torch.float64))
    with pytest.raises(ValueError, match="must be above 0"):
        smooth_causally(counts, mask, 1.0, 0.0)
    with pytest.raises(ValueError, match="the mask"):
        smooth_causally(counts[0], mask, 1.0, 1.0)


# Intervals


def gaussian_world(bins, spread, residual=0.5):
    """Return posteriors of states (bins, 3) and targets that follow from the states exactly."""
    root = torch.tril(normal(bins, 3, 3)) * spread
    mean = normal(bins, 3) * 2.0
    states = mean + (root @ normal(bins, 3, 1))[..., 0]
    weight = torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]], dtype=torch.float64)
    return mean, root, states @ weight + residual * normal(bins, 2), states


def covered(mean, factor, targets, decoder, part=3000):
    def of(rows):
        return None if factor is None else (factor if len(factor) == 1 else factor[rows])

    kept, test = slice(part, 2 * part), slice(2 * part, None)
    residual = fit_residual(decoder, mean[kept], of(kept), targets[kept])
    interval = decode_with_interval(decoder, mean[test], of(test), residual)
    return residual, interval, coverage(targets[test], interval.low, interval.high)


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_intervals_cover_95_percent_of_a_linear_gaussian_world(spread):
    mean, root, targets, states = gaussian_world(9000, spread)
    decoder = fit_linear(states[:3000], targets[:3000], penalty=0.0)
    residual, interval, found = covered(mean, root, targets, decoder)
    # The residual is what the decoder leaves; the rest is the posterior's, exact by bin.
    close(residual.variance, torch.full((2,), 0.25, dtype=torch.float64), atol=0.05 + 0.5 * spread)
    close(interval.mean, decoder.predict(mean[6000:]))
    projected = root[6000:].mT @ (decoder.weight / decoder.scale[:, None])
    expected = 2 * 1.96 * (projected.square().sum(dim=1) + residual.variance).sqrt()
    close((interval.high - interval.low) / expected, torch.ones_like(expected), atol=0.08)
    close(found.per_dim, torch.full((2,), 0.95, dtype=torch.float64), atol=0.015)
    assert found.low < found.fraction < found.high


def test_a_posterior_that_widens_in_some_bins_keeps_its_coverage_in_them():
    mean, root, targets, states = gaussian_world(9000, 1.0)
    decoder = fit_linear(states[:3000], targets[:3000], penalty=0.0)
    wide = root[6000:].square().sum(dim=(1, 2)) > 8.0
    for factor, calibrated in ((root, True), (None, False)):
        _, interval, _ = covered(mean, factor, targets, decoder)
        parts = [
            coverage(targets[6000:][rows], interval.low[rows], interval.high[rows]).fraction
            for rows in (wide, ~wide)
        ]
        assert (abs(parts[0] - parts[1]) < 0.03) == calibrated


@pytest.mark.parametrize("factor", [None, 0.7 * torch.eye(3, dtype=torch.float64)[None]])
def test_intervals_cover_95_percent_with_heavy_tails_and_skew(factor):
    mean = normal(9000, 3)
    states = mean if factor is None else mean + normal(9000, 3) @ factor[0].mT
    tail = torch.distributions.StudentT(torch.tensor(2.5)).sample((9000, 1)).double()
    targets = states[:, :1] + 0.3 * tail.clamp(min=-1.0)
    decoder = fit_linear(states[:3000], targets[:3000])
    _, interval, found = covered(mean, factor, targets, decoder)
    assert found.fraction == pytest.approx(0.95, abs=0.015)
    above = float((targets[6000:] > interval.high).double().mean())
    assert above == pytest.approx(0.025, abs=0.01)


@pytest.mark.parametrize("wrong", [0.2, 5.0])
def test_intervals_still_cover_when_the_posterior_is_too_narrow_or_too_wide(wrong):
    mean, root, targets, states = gaussian_world(9000, 1.0)
    decoder = fit_linear(states[:3000], targets[:3000])
    residual, _, found = covered(mean, wrong * root, targets, decoder)
    assert (residual.variance >= 0.0).all()
    assert found.fraction == pytest.approx(0.95, abs=0.015)


def test_intervals_of_a_perceptron_cover_too_whatever_the_size_of_chunks(monkeypatch):
    mean = normal(3000, 2)
    factor = 0.2 * torch.eye(2, dtype=torch.float64)[None]
    states = mean + 0.2 * normal(3000, 2)
    targets = states[:, :1] ** 2 + 0.1 * normal(3000, 1)
    decoder = fit_mlp(states[:1000], targets[:1000], hidden=(32,))
    _, interval, found = covered(mean, factor, targets, decoder, part=1000)
    assert found.fraction == pytest.approx(0.95, abs=0.025)
    monkeypatch.setattr("predictive.intervals._CHUNK_NUMBERS", 200 * 32 * 37)
    _, again, _ = covered(mean, factor, targets, decoder, part=1000)
    close(again.low, interval.low, atol=1e-5)


def test_a_higher_level_is_a_wider_interval():
    decoder = fit_linear(normal(50, 2), normal(50, 1))
    residual = fit_residual(decoder, normal(99, 2), None, normal(99, 1))
    widths = []
    for level in (0.5, 0.9, 0.95):
        interval = decode_with_interval(decoder, normal(4, 2), None, residual, level)
        widths.append(float((interval.high - interval.low)[0, 0]))
    assert widths == sorted(widths)


def test_the_ends_are_the_ranks_that_hold_the_level_with_few_calibration_bins():
    decoder = fit_linear(normal(50, 2), normal(50, 1))
    steps = torch.arange(1.0, 40.0, dtype=torch.float64)[:, None]
    residual = ResidualModel(torch.ones(1, dtype=torch.float64), steps)
    interval = decode_with_interval(decoder, normal(4, 2), None, residual)
    close(interval.low, interval.mean + 1.0)
    close(interval.high, interval.mean + 39.0)
    residual = ResidualModel(residual.variance, steps[1:])
    with pytest.raises(ValueError, match="at least 39 calibration bins, got 38"):
        decode_with_interval(decoder, normal(4, 2), None, residual)


def test_correlated_bins_make_the_coverage_less_sure():
    inside = torch.rand(4000, 1) < 0.9
    alone = coverage(torch.zeros(4000, 1), -inside.double(), inside.double() - 0.5)
    held = inside[:200].repeat_interleave(20, dim=0).double()
    together = coverage(torch.zeros(4000, 1), -held, held - 0.5)
    assert alone.num_effective == pytest.approx(4000, rel=0.3)
    assert together.num_effective == pytest.approx(200, rel=0.5)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    reach = 1.96 * (0.09 / 4000) ** 0.5
    assert alone.high - alone.low == pytest.approx(2 * reach, rel=0.2)


def test_coverage_leaves_out_unknown_targets_and_may_be_all():
    targets = torch.zeros(50, 1)
    targets[:10] = math.nan
    found = coverage(targets, -torch.ones(50, 1), torch.ones(50, 1))
    assert (found.fraction, found.num_bins, found.high) == (1.0, 40, 1.0)
    assert found.low == pytest.approx(40 / (40 + 1.96**2), abs=1e-4)
    with pytest.raises(ValueError, match="no bin with a known target"):
        coverage(targets[:10], targets[:10], targets[:10])
    with pytest.raises(ValueError, match="the same shape"):
        coverage(targets, targets, targets[:4])


def test_intervals_that_cannot_be_computed_give_one_line():
    decoder = fit_linear(normal(50, 2), normal(50, 1))
    mean, targets = normal(60, 2), normal(60, 1)
    residual = fit_residual(decoder, mean, None, targets)
    eye = torch.eye(2)[None]
    cases = [
        (lambda: fit_residual(decoder, mean, None, targets * math.nan), "at least 2 bins"),
        (lambda: fit_residual(decoder, mean, None, targets[:3]), "over the same bins"),
        (lambda: decode_with_interval(decoder, mean, eye[0], residual), "factors must be"),
        (lambda: decode_with_interval(decoder, mean, eye, residual, 1.0), "level must be"),
        (lambda: decode_with_interval(decoder, mean, eye, residual, 0.9, 3), "must be even"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
