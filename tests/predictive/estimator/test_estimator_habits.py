"""Habits of users: what meant something else is right, or is one line; nothing is guessed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context

from predictive import KalmanSSL
from tests.predictive.estimator.conftest import SMALL

TINY = {**SMALL, "max_epochs": 1, "hidden_dim": 4, "latent_dim": 2}


def cells(*arrays):
    """An array of arrays, as a MATLAB cell array is read."""
    found = np.empty((1, len(arrays)), dtype=object)
    found[0] = arrays
    return found


KINDS = {
    "half": lambda x: x.astype(np.float16),
    "bytes": lambda x: x.astype(np.uint8),
    "columns": np.asfortranarray,
    "another machine's": lambda x: x.astype(">f8"),
    "objects": lambda x: x.astype(object),
    "lists": lambda x: x.tolist(),
    "bfloat16": lambda x: torch.tensor(x).bfloat16(),
    "sparse tensor": lambda x: torch.tensor(x).to_sparse(),
    "numbers that may lack": lambda x: pd.DataFrame(x.astype(int)).astype("Int64"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_any_form_are_the_same_numbers(kalman, recording, kind):
    counts = recording[0][:50]
    found = kalman.transform(KINDS[kind](counts))
    np.testing.assert_array_equal(np.asarray(found), kalman.transform(counts))


def test_an_array_of_trials_is_a_list_of_them(recording):
    counts, place = recording
    parts = (slice(0, 100), slice(100, 250), slice(250, 600))
    x, y = ([one[part] for part in parts] for one in (counts, place))
    model = KalmanSSL(**TINY).fit(cells(*x), cells(*y))
    assert model.score(cells(*x), cells(*y)) == KalmanSSL(**TINY).fit(x, y).score(x, y)
    assert [one.shape for one in model.transform(cells(*x))] == [(100, 2), (150, 2), (350, 2)]


DATES = np.arange(600).astype("M8[s]")
REFUSED = {
    "dates as y": (lambda x, y: (x, DATES), r"y: expected numbers, got dates .*\[s\]"),
    "a Series of dates": (lambda x, y: (x, pd.Series(DATES)), "y: expected numbers, got dates"),
    "durations": (lambda x, y: (x, DATES - DATES[0]), "y: expected numbers, got dates or dur"),
    "a table of dates": (lambda x, y: (x, pd.DataFrame(DATES)), "y: expected numbers, got dates"),
    "dates as X": (lambda x, y: (np.stack([DATES] * 2, 1), None), "X: expected numbers, got dates"),
    "a column of dates": (
        lambda x, y: (pd.DataFrame(x).assign(day=DATES).set_axis(range(13), axis=1), y),
        "X: expected numbers, got dates",
    ),
    "no y of a session": (lambda x, y: ([x, x], [y, None]), "y: .* got None; give NaN where"),
    "a y of three axes": (lambda x, y: (x, y[:, None, None]), "y: expected numbers, .* dim 3"),
    "a complex y": (lambda x, y: (x, y * 1j), "y: expected numbers, .* got: Complex data"),
    "records": (
        lambda x, y: (pd.DataFrame(x[:, :2], columns=["a", "b"]).to_records(index=False), y),
        "X: .* got records of a, b; give pandas.DataFrame",
    ),
    "spike times": (
        lambda x, y: ([np.arange(5.0), np.arange(7.0)], None),
        "X: expected .* got 2 rows of different lengths; spike times are counted in bins",
    ),
    "nothing that varies": (lambda x, y: (0.0 * x + 5.0, y), "X: .* vary, got 12 constant ones"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_meant_otherwise_is_one_line(recording, name):
    make, words = REFUSED[name]
    given, target = make(*recording)
    with pytest.raises(ValueError, match=words) as refused:
        KalmanSSL(**TINY).fit(given, target)
    assert "\n" not in str(refused.value)


def test_what_is_hardly_meant_is_said(recording):
    counts, place = recording
    clock = np.arange(600) * 0.25
    named = pd.DataFrame(counts, columns=[f"c{i}" for i in range(12)])
    with pytest.warns(UserWarning, match="X: 12 bins of 300 features are few; .* transpose it"):
        KalmanSSL(**TINY).fit(counts[:300].T + np.arange(300) % 7)
    with pytest.warns(UserWarning, match="X: bins of 250 s; times are in seconds: divide"):
        KalmanSSL(**TINY).fit(named.set_axis(1000 * clock))
    with pytest.warns(UserWarning, match="X: the feature time_s increases as times do"):
        KalmanSSL(**TINY).fit(named.assign(time_s=clock))
    said = r"X: 2 of 12 features are constant \(c3, c7\), of which nothing is learned"
    with pytest.warns(UserWarning, match=said):
        KalmanSSL(**TINY).fit(named.assign(c3=0.0, c7=2.0), place)


def test_epochs_of_one_bin_have_no_step_between_bins():
    nap = pytest.importorskip("pynapple")
    starts = np.arange(0.0, 40.0, 2.0)
    times = np.concatenate([starts, [100.0, 100.1, 100.2]])
    epochs = nap.IntervalSet([*(starts - 0.01), 99.0], [*(starts + 0.01), 101.0])
    counts = np.random.default_rng(0).poisson(3.0, (len(times), 4))
    frame = nap.TsdFrame(t=times, d=counts, time_support=epochs)
    with pytest.warns(UserWarning, match="20 sequences of 1 bin have nothing to predict"):
        model = KalmanSSL(**TINY, window=2).fit(frame)
    assert model.bin_seconds_ == pytest.approx(0.1)
    assert model.chosen_["batch_size"] == 2  # of the windows that are trained on


def test_a_dimension_of_time_may_be_named_after_its_bins(recording, kalman):
    xarray = pytest.importorskip("xarray")
    counts = recording[0][:50]
    found = kalman.transform(xarray.DataArray(counts.T, dims=["unit", "time_bins"]))
    np.testing.assert_array_equal(found, kalman.transform(counts))
    with pytest.raises(ValueError, match=r"got a Dataset .*; take one of its variables \(n\)"):
        kalman.transform(xarray.Dataset({"n": (("time", "unit"), counts)}))
    with pytest.raises(ValueError, match=r"as X\.rename\({'b': 'time'}\) does"):
        kalman.transform(xarray.DataArray(counts.T, dims=["a", "b"]))


def test_a_state_of_random_numbers_may_be_any_of_numpy_s(kalman):
    for one, words in (({"steps": 5.0}, "steps"), ({"n_samples": 0}, "n_samples")):
        with pytest.raises(ValueError, match=f"^{words}: expected a whole number from 1"):
            kalman.sample(**one)
    with pytest.raises(ValueError, match=r"random_state: expected .* got 'x'"):
        kalman.sample(random_state="x")
    first, again = (kalman.sample(9, random_state=np.random.default_rng(3))[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (kalman.sample(9, random_state=np.random.RandomState(3))[0] != first).any()


def test_a_parameter_that_is_no_plain_value_and_a_bin_that_is_no_number_are_named(
    recording, kalman
):
    with pytest.raises(ValueError, match=r"^device: expected a number, text .*, got device\(type"):
        KalmanSSL(**{**TINY, "device": torch.device("cpu")}).fit(recording[0])
    with pytest.raises(ValueError, match=r"x: expected \(F,\) numbers, got \['a'"):
        kalman.step(["a"] * 12)
    bins = recording[0][0]
    expected = kalman.reset().step(bins).mean
    np.testing.assert_array_equal(kalman.reset().step(torch.tensor(bins)).mean, expected)


def test_a_table_is_made_of_one_array_or_said_not_to_be(recording, kalman):
    counts = recording[0][:50]
    with config_context(transform_output="pandas"):
        assert kalman.transform(counts).columns.tolist() == [f"kalmanssl{i}" for i in range(3)]
        with pytest.raises(ValueError, match=r"transform_output='pandas' .* got a list; set_out"):
            kalman.transform([counts, counts])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_said(recording):
    with pytest.warns(UserWarning, match="device=cuda: no GPU here, training on the CPU"):
        KalmanSSL(**{**TINY, "device": "cuda"}).fit(*recording)
