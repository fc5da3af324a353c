"""What an estimator refuses in one line, or says: parameters, settings, y that is dropped."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score

from predictive import KalmanSSL, RecurrentSSL
from tests.predictive.estimator.conftest import SMALL

TINY = {**SMALL, "max_epochs": 1}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"random_state": 2**33}, "random_state: expected a whole number from 0 and below"),
        ({"random_state": -1}, "random_state: expected a whole number from 0, got -1"),
        ({"history": -1}, "history: expected a number from 0, got -1"),
        ({"window": 1}, "window: expected a whole number from 2, got 1"),
        ({"stride": 0}, "stride: expected a whole number from 1, got 0"),
        ({"latent_dim": 0}, "latent_dim: expected a whole number from 1, got 0"),
        ({"time_constant": 0}, "time_constant: expected a number above 0, got 0"),
        ({"bin_seconds": 0}, "bin_seconds: expected a number above 0, got 0"),
        ({"entropy": "logdett"}, "entropy: expected one of .*, got 'logdett'"),
        ({"learning_rate": -1.0}, "learning_rate: expected a number from 0, got -1"),
        ({"input_transform": "log"}, "input_transform: expected none or sqrt, got 'log'"),
        ({"observation_noise": "no"}, "observation_noise: expected .* got 'no'"),
        ({"settings": {"optimizer.wd": 1}}, "unknown key optimizer.wd: .* weight_decay"),
        ({"settings": {"data.window": 1}}, "data.window: expected a whole number from 2"),
        ({"settings": "x"}, "settings: expected values by dotted keys, got 'x'"),
        ({"settings": {"seed": object()}}, "settings: seed: Value 'object' is not supported|seed"),
        ({"settings": {"max_epochs": 2}}, "settings: expected max_epochs=1, as max_epochs says"),
        ({"settings": {"data": {"window": 50}}, "window": 60}, "settings: expected data.window=60"),
        ({"settings": {"method": "recurrent"}}, "settings: expected method=kalman"),
    ],
)
def test_a_parameter_is_refused_by_its_own_name(recording, params, words):
    with pytest.raises(ValueError, match=f"^{words}") as refused:
        KalmanSSL(**{**TINY, **params}).fit(recording[0])
    assert "\n" not in str(refused.value)


def test_a_recurrent_network_s_units_are_its_state_dim(recording):
    with pytest.raises(ValueError, match=r"^state_dim: expected a whole number from 1, got 0"):
        RecurrentSSL(**TINY, state_dim=0).fit(recording[0])


def test_what_was_used_is_what_is_chosen(recording):
    settings = {"data.window": 50, "predictor.initial_transition": 0.9, "optimizer.batch_size": 7}
    model = KalmanSSL(**TINY, bin_seconds=0.5, settings=settings).fit(recording[0])
    assert (model.chosen_["window"], model.chosen_["batch_size"]) == (50, 7)
    assert model.chosen_["time_constant"] == pytest.approx(-0.5 / np.log(0.9))
    assert model.config_["data"]["window"] == 50
    title = " ".join(one.get_text() for one in model.plot(recording[0][:60]).texts)
    assert "window 50" in title


def test_arguments_of_fit_are_refused_with_what_to_do(recording, kalman):
    counts, place = recording
    with pytest.raises(ValueError, match=r"X: expected at least 2 bins to predict .*, got 1 of 2"):
        KalmanSSL(**TINY).fit(counts[:2])
    with pytest.raises(ValueError, match=r"got 'm.safetensors'; KalmanSSL.load\(path\)"):
        KalmanSSL(**TINY).fit(counts, init="m.safetensors")
    for name, other in (("hidden_dim", 9), ("state_dim", 4)):
        with pytest.raises(ValueError, match=f"^{name}: expected ., as init has, got {other}"):
            KalmanSSL(**{**TINY, name: other}).fit(counts, init=kalman)
    with pytest.raises(ValueError, match=r"y: expected numbers, .* target='categorical'"):
        KalmanSSL(**TINY).fit(counts, np.where(place > 0, "left", "right"))


@pytest.mark.filterwarnings("ignore:y. expected at least 20", "ignore:X. .* are constant")
def test_a_y_that_cannot_be_decoded_is_told_when_it_is_asked_for(recording, kalman, tmp_path):
    counts, place = recording
    two = np.stack([place, np.full(600, np.nan)], axis=1)
    for bins, y, words in (
        (12, place, "a y known in 12 of 12 bins; 20 are needed"),
        (60, two, r"a y known in 0 of 60 bins, as the columns \[1\] have no value"),
        (60, np.where(np.arange(600) < 6, place, np.nan), "a y known in 6 of 60 bins"),
    ):
        with pytest.warns(UserWarning, match="so that y cannot be predicted or scored"):
            own = KalmanSSL(**TINY).fit(counts[:bins], y[:bins])
        again = KalmanSSL.load(own.save(tmp_path / "model.safetensors"))
        for model in (own, again):
            with pytest.raises(ValueError, match=f"with a y to decode, got {words}"):
                model.predict(counts)
            with pytest.raises(ValueError, match=f"with a y to decode, got {words}"):
                model.score(counts, y)
    going_on = copy.deepcopy(kalman)
    with pytest.warns(UserWarning, match="got 5 of 5 bins"):
        going_on.partial_fit(counts[:5], place[:5])
    with pytest.raises(ValueError, match="a y known in 5 of 5 bins"):
        going_on.predict(counts)
    going_on = copy.deepcopy(kalman)
    with pytest.warns(UserWarning, match=r"y: not given, so that the decoder .* is dropped"):
        going_on.partial_fit(counts)
    with pytest.raises(ValueError, match=r"got a partial_fit\(X\) without"):
        going_on.predict(counts)


def test_the_score_of_columns_does_not_depend_on_their_units(recording):
    counts, place = recording
    both = np.stack([place, np.random.default_rng(0).normal(size=600)], axis=1)
    scores = []
    for scale in (1.0, 1024.0):
        y = both * [1.0, scale]
        own = KalmanSSL(**{**TINY, "max_epochs": 5, "decoder": "mlp"}).fit(counts, y)
        scores.append(own.score(counts, y))
        assert scores[-1] == pytest.approx(r2_score(y, own.predict(counts)), abs=1e-5)
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert own.score(counts, np.ones((600, 2))) == 0.0
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(own.score(counts[:1], both[:1]))
    with pytest.raises(ValueError, match="y: expected a known one in some bin, got none in 600"):
        own.score(counts, both * np.nan)


def test_an_interval_contains_what_it_is_of_and_says_what_a_level_needs(recording):
    counts, place = recording
    biased = np.random.default_rng(1).exponential(size=600) + place
    own = KalmanSSL(**{**TINY, "decoder": "mlp"}).fit(counts, biased)
    for level in (0.1, 0.5, 0.95):
        decoded, low, high = own.predict(counts, return_interval=True, level=level)
        assert ((low <= decoded) & (decoded <= high)).all()
    ahead = own.forecast(counts, 5)
    assert ((ahead.y_low <= ahead.y) & (ahead.y <= ahead.y_high)).all()
    with pytest.raises(ValueError, match=r"expected at most 0.986 with 150 .* about 7996 bins"):
        own.predict(counts, return_interval=True, level=0.999)
    with pytest.raises(ValueError, match="level: expected a number above 0 and below 1, got 95"):
        own.predict(counts, return_interval=True, level=95)
    short = KalmanSSL(**TINY).fit(counts[:100], place[:100])
    with pytest.raises(ValueError, match="about 156 training bins with a known y"):
        short.predict(counts, return_interval=True)


def test_a_bin_a_state_a_length_and_a_path_are_refused_at_once(kalman, recording, tmp_path):
    counts, _ = recording
    for value in (np.inf, 1e300):
        with pytest.raises(ValueError, match=r"x: expected finite .* in the features \[3\]"):
            kalman.step(np.where(np.arange(12) == 3, value, 1.0))
    kalman.reset()
    masked = kalman.step(np.ma.array(counts[0], mask=True)).mean
    kalman.reset()
    np.testing.assert_array_equal(masked, kalman.step(np.full(12, np.nan)).mean)
    for state, words in (
        ({"a": 1}, "that of this model"),
        ({"a": "x"}, "numbers"),
        ([1], "arrays"),
    ):
        with pytest.raises(ValueError, match=f"state: expected {words}"):
            kalman.reset(state)
    kalman.reset()
    with pytest.raises(ValueError, match="steps: expected a whole number from 1 and below 1000000"):
        kalman.forecast(counts, 10**7)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"path: expected a place that can be written, got .*file"):
        kalman.save(tmp_path / "file" / "model.safetensors")
    with pytest.raises(ValueError, match=r"path: expected a name that ends in .png, got 'q.pdf'"):
        kalman.plot(counts, path=tmp_path / "q.pdf")
