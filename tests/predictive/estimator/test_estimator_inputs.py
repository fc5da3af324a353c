"""What X may be: arrays, lists of them, missing values, tensors, tables, time series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from predictive import KalmanSSL
from predictive.estimator.reading.checks import for_training
from predictive.estimator.reading.inputs import read_inputs
from predictive.estimator.settings import choose
from tests.predictive.estimator.conftest import SMALL

TIMES = np.arange(600) * 0.025 + 3.0
EMPTY = dict.fromkeys(
    [
        *(
            "input_transform",
            "feature_dropout",
            "history",
            "latent_dim",
            "window",
            "stride",
            "batch_size",
        ),
        *("max_epochs", "time_constant"),
    ]
)


def pynapple_frame(values):
    return pytest.importorskip("pynapple").TsdFrame(t=TIMES, d=values)


def xarray_frame(values):
    xarray = pytest.importorskip("xarray")
    return xarray.DataArray(values, coords={"time": TIMES}, dims=["time", "cell"])


KINDS = {
    "tensor": torch.from_numpy,
    "masked": np.ma.masked_invalid,
    "table": lambda values: pd.DataFrame(values, index=pd.Index(TIMES, name="s")),
    "dates": lambda values: pd.DataFrame(
        values, index=pd.Timestamp("2020-01-01") + pd.to_timedelta(TIMES, unit="s")
    ),
    "xarray": xarray_frame,
    "pynapple": pynapple_frame,
}


@pytest.mark.parametrize("kind", KINDS)
def test_states_have_the_kind_and_the_times_of_the_input(recording, kind):
    counts, place = recording
    given = KINDS[kind](counts)
    model = KalmanSSL(**{**SMALL, "max_epochs": 1, "window": 100}).fit(given, place)
    states = model.transform(given)
    plain = KalmanSSL(**{**SMALL, "max_epochs": 1, "window": 100, "time_constant": 5.0})
    stamped = kind not in ("tensor", "masked")
    assert model.bin_seconds_ == (pytest.approx(0.025) if stamped else None)
    values = states.values if kind in ("table", "dates", "xarray", "pynapple") else states
    expected = plain.set_params(time_constant=5.0 if stamped else None, bin_seconds=0.025).fit(
        counts
    )
    if stamped:
        np.testing.assert_allclose(values, expected.transform(counts), atol=1e-6)
    assert type(states) is (np.ndarray if kind == "masked" else type(given))
    decoded, low, high = model.predict(given, return_interval=True)
    ahead = model.forecast(given, 4).mean
    if kind in ("table", "dates"):
        assert states.index.equals(given.index)
        assert decoded.index.equals(given.index)
        assert (low <= high).all()
        step = given.index[1] - given.index[0]
        np.testing.assert_allclose((ahead.index - given.index[-1]) / step, [1, 2, 3, 4], atol=1e-4)
    if kind == "xarray":
        np.testing.assert_array_equal(states.time, given.time)
        np.testing.assert_allclose(ahead.time, TIMES[-1] + 0.025 * np.arange(1, 5))
    if kind == "pynapple":
        np.testing.assert_array_equal(states.t, given.t)
        np.testing.assert_array_equal(decoded.t, given.t)
        np.testing.assert_allclose(ahead.t, TIMES[-1] + 0.025 * np.arange(1, 5))


def test_spikes_of_a_group_are_counted_and_epochs_are_sequences(recording):
    nap = pytest.importorskip("pynapple")
    draw = np.random.default_rng(1)
    group = nap.TsGroup({i: nap.Ts(np.sort(draw.uniform(0, 20, 80))) for i in (3, 5, 8)})
    group = group.restrict(nap.IntervalSet([0, 12], [10, 20]))
    with pytest.raises(ValueError, match="bin_seconds: expected a duration"):
        KalmanSSL(**SMALL).fit(group)
    model = KalmanSSL(**SMALL, bin_seconds=0.1).fit(group)
    states = model.transform(group)
    assert isinstance(states, nap.TsdFrame)
    counts = group.count(0.1)
    np.testing.assert_array_equal(states.t, counts.t)
    second = counts.d[counts.t > 11]
    np.testing.assert_allclose(states.d[states.t > 11], model.transform(second), atol=1e-6)


def test_a_gap_in_the_times_begins_a_new_sequence(kalman, recording):
    counts, _ = recording
    table = pd.DataFrame(counts[:60], index=np.arange(60) * 0.025)
    cut = pd.concat([table.iloc[:20], table.iloc[30:]])
    parts = kalman.transform([counts[:20], counts[30:60]])
    np.testing.assert_allclose(kalman.transform(cut), np.concatenate(parts), atol=1e-6)
    with pytest.raises(ValueError, match=r"expected increasing times, got .* sort them"):
        kalman.transform(table.iloc[::-1])
    uneven = pd.DataFrame(counts[:4], index=[0.0, 0.025, 0.05, 0.083])
    with pytest.raises(ValueError, match="expected bins of one duration"):
        kalman.transform(uneven)
    model = KalmanSSL(**SMALL).fit(table)
    with pytest.raises(ValueError, match=r"expected bins of 0.025 s, got 0.05 s"):
        model.transform(pd.DataFrame(counts[:60], index=np.arange(60) * 0.05))


def test_sequences_of_any_length_are_trained_on_and_never_joined(recording):
    counts, place = recording
    cuts = [counts[:5], counts[5:100], counts[100:103], counts[103:]]
    places = [place[:5], place[5:100], place[100:103], place[103:]]
    model = KalmanSSL(**SMALL, window=50)
    sequences = for_training(read_inputs(model, cuts, None, reset=True).sequences(), 50)
    windows = sequences.windows(50, 50)
    known = windows.mask & torch.isfinite(windows.inputs).all(dim=2)
    assert sorted(known.sum(dim=1).tolist())[:2] == [3, 5]
    model.fit(cuts, places)
    states = model.transform(cuts)
    assert [len(one) for one in states] == [5, 95, 3, 497]
    for one, alone in zip(states, cuts, strict=True):
        np.testing.assert_allclose(one, model.transform(alone), atol=1e-6)
    trials = model.transform(counts.reshape(6, 100, 12))
    assert [one.shape for one in trials] == [(100, 3)] * 6


def test_missing_bins_are_forecast_and_lost_features_are_at_their_mean(kalman, recording):
    counts, _ = recording
    missing = counts[:50].copy()
    missing[30:] = np.nan
    found, ahead = kalman.filter(missing), kalman.forecast(counts[:30], 20)
    np.testing.assert_allclose(found.mean[30:], ahead.mean, atol=1e-6)
    np.testing.assert_allclose(found.covariance[30:], ahead.covariance, atol=1e-6)
    np.testing.assert_allclose(kalman.decoder_.predict(torch.from_numpy(ahead.mean))[:, 0], ahead.y)
    hidden = np.ma.array(counts[:50], mask=np.isnan(missing))
    np.testing.assert_array_equal(kalman.transform(hidden), found.mean)
    lost = counts[:50].copy()
    lost[:, 4] = np.nan
    neutral = lost.copy()
    neutral[:, 4] = kalman.method_.encoder.neutral[4]
    with pytest.warns(UserWarning, match="1 of 12 features are missing in 1 of 1 sequences"):
        states = kalman.transform(lost)
    np.testing.assert_allclose(states, kalman.transform(neutral), atol=1e-6)
    lost[7, 5] = np.nan
    some = counts.copy()
    some[7, 5] = np.nan
    with pytest.warns(UserWarning, match="1 of 600 bins lack some values"):
        KalmanSSL(**SMALL).fit(some)


def test_rules_choose_from_the_bins_the_cells_and_the_length(recording):
    counts, _ = recording
    read = read_inputs(KalmanSSL(), counts, None, reset=True)
    unknown = choose(EMPTY, read.sequences(), None)
    assert unknown == {
        "input_transform": "sqrt",
        "feature_dropout": 0.2,
        "history": 1.0,
        "latent_dim": 12,
        "window": 100,
        "stride": 4,
        "batch_size": 32,
        "max_epochs": 400,
        "time_constant": 200.0,
    }
    slow = choose({**EMPTY, "latent_dim": 2, "batch_size": 7}, read.sequences(), 0.1)
    assert (slow["window"], slow["stride"], slow["time_constant"]) == (100, 4, 20.0)
    assert (slow["latent_dim"], slow["batch_size"]) == (2, 7)
    dense = read_inputs(KalmanSSL(), 20 * counts, None, reset=True)
    assert choose(EMPTY, dense.sequences(), 1.0)["history"] == 0.0
    assert choose(EMPTY, dense.sequences(), 1.0)["window"] == 60
    assert choose(EMPTY, dense.sequences(), 0.001)["window"] == 200
    signals = read_inputs(KalmanSSL(), counts[:, :4] - 0.5, None, reset=True)
    found = choose(EMPTY, signals.sequences(), None)
    assert found["input_transform"] == "none"
    assert (found["feature_dropout"], found["history"]) == (0.0, 0.0)


BAD = {
    "a word": (lambda x, y: (x, np.array(["a"] * len(x))), "labels need target="),
    "y of another length": (lambda x, y: (x, y[:-1]), "y: expected a row for each of the 600"),
    "a list and one y": (lambda x, y: ([x, x], [y]), "y: expected one array for each of the 2"),
    "infinity": (lambda x, y: (np.where(x > 3, np.inf, x), y), "infinity"),
    "one bin": (lambda x, y: (x[:1], y[:1]), "1 sample"),
    "other features": (lambda x, y: ([x, x[:, :4]], [y, y]), r"X\[1\] has 4 features"),
    "an empty trial": (lambda x, y: ([x, x[:0]], [y, y[:0]]), r"X\[1\]: .*got 0; leave it out"),
    "trials of a bin": (lambda x, y: ([x[:1], x[:1]], None), "got 2 of 1 bin"),
    "one column": (lambda x, y: (x[:, 0], y), r"got \(600,\).* X\[:, None\] is one feature"),
    "complex numbers": (lambda x, y: (x * 1j, y), "X: Complex data not supported"),
    "an empty list": (lambda x, y: ([], None), "got no bins"),
    "nothing": (lambda x, y: (None, None), "bins and features, got None"),
    "a feature of no value": (
        lambda x, y: (np.where(np.arange(12) < 11, np.nan, x), y),
        r"leave out the 11 features that have no value: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …$",
    ),
    "no bin at all": (lambda x, y: (np.full((30, 2), np.nan), None), "as all values are missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(recording, name):
    make, words = BAD[name]
    given, target = make(*recording)
    with pytest.raises(ValueError, match=words) as refused:
        KalmanSSL(**SMALL).fit(given, target)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"latent_dim": 0}, "latent_dim: expected"),
        ({"entropy": "logdt"}, "entropy: expected one"),
        ({"decoder": "tree"}, "decoder: expected linear or mlp"),
        ({"output": "state"}, "output: expected states, smoothed or latents"),
        ({"window": 700}, "window: expected at most the 600 bins"),
        ({"settings": {"optimizer.lrr": 1}}, "optimizer.lr"),
        ({"observation_noise": "none"}, "observation_noise: expected"),
        ({"learning_rate": -1}, "learning_rate: expected"),
    ],
)
def test_bad_parameters_are_one_line_that_names_them(recording, params, words):
    with pytest.raises(ValueError, match=words) as refused:
        KalmanSSL(**{**SMALL, **params}).fit(recording[0])
    assert "\n" not in str(refused.value)
