"""One bin at a time: the states of the whole, saved and gone on from, in time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from predictive import KalmanSSL, RecurrentSSL
from tests.predictive.estimator.conftest import SMALL

NOISES = {
    "constant": {},
    "of the input": {"observation_noise": "input"},
    "of the state": {"observation_noise": "state"},
    "of past errors": {"process_noise": "errors"},
    "constant, of a history": {"history": 3.0},
}


def gappy(recording):
    counts = recording[0][:80].copy()
    counts[20:30] = np.nan
    counts[40, 3] = np.nan
    return counts


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.filterwarnings("ignore:X. 1 of 80 bins lack")
def test_steps_give_the_filter_s_states_and_covariances(recording, noise):
    settings = {**SMALL, "max_epochs": 1, "window": 20, "settings": {"predictor.num_records": 3}}
    model = KalmanSSL(**settings, **NOISES[noise]).fit(recording[0][:200])
    counts = gappy(recording)
    whole = model.filter(counts)
    steps = [model.step(x) for x in counts]
    np.testing.assert_allclose([one.mean for one in steps], whole.mean, atol=1e-6)
    found = [one.covariance for one in steps]
    np.testing.assert_allclose(found, whole.covariance, atol=1e-6 * np.abs(whole.covariance).max())
    np.testing.assert_allclose(
        [(one.high - one.low) / 2 for one in steps], 1.96 * whole.std, rtol=1e-3
    )


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_recurrent_network_steps_as_it_runs_over_the_whole(recording, cell):
    settings = {**SMALL, "max_epochs": 1, "history": 3.0}
    model = RecurrentSSL(**settings, state_dim=4, cell=cell).fit(recording[0])
    counts = recording[0][:40].copy()
    counts[10:13] = np.nan
    found = [model.step(x) for x in counts]
    np.testing.assert_allclose([one.mean for one in found], model.transform(counts), atol=1e-6)
    assert found[0].low is None
    for x in counts[:15]:
        model.step(x)
    saved = model.online_state
    expected = [model.step(x).mean for x in counts[15:]]
    model.reset(saved)
    np.testing.assert_array_equal([model.step(x).mean for x in counts[15:]], expected)


def test_a_saved_state_goes_on_in_another_process_s_model(kalman, recording, tmp_path):
    counts = recording[0][:60]
    for x in counts[:30]:
        kalman.step(x)
    np.savez(tmp_path / "state.npz", **kalman.online_state)
    expected = [kalman.step(x) for x in counts[30:]]
    other = KalmanSSL.load(kalman.save(tmp_path / "model.safetensors"))
    with np.load(tmp_path / "state.npz") as saved:
        other.reset(saved)
    found = [other.step(x) for x in counts[30:]]
    np.testing.assert_array_equal([one.mean for one in found], [one.mean for one in expected])
    np.testing.assert_array_equal([one.y for one in found], [one.y for one in expected])
    assert all((one.y_low <= one.y_high).all() for one in found)
    kalman.reset()
    with pytest.raises(ValueError, match="state: expected that of this model"):
        other.reset({"mean": np.zeros(2), "factor": np.eye(2)})
    with pytest.raises(ValueError, match=r"x: expected \(12,\), got \(3,\)"):
        kalman.step(np.zeros(3))


@pytest.fixture(scope="module")
def sixteen():
    """An estimator of 16 states with a decoder, and bins of 54 cells."""
    rng = np.random.default_rng(0)
    place = np.sin(np.arange(1500) * 0.05)
    rates = np.exp(-6.0 * (place[:, None] - np.linspace(-1, 1, 54)) ** 2)
    counts = rng.poisson(rates).astype(float)
    model = KalmanSSL(latent_dim=16, max_epochs=1, device="cpu").fit(counts[:400], place[:400])
    return model, counts


def test_a_thousand_steps_give_the_filter_s_states_to_a_millionth(sixteen):
    model, counts = sixteen
    bins = counts[:1000].copy()
    bins[300:320] = np.nan
    whole = model.filter(bins)
    model.reset()
    steps = [model.step(x) for x in bins]
    assert whole.mean.dtype == steps[0].mean.dtype == np.float32
    np.testing.assert_allclose([one.mean for one in steps], whole.mean, rtol=0, atol=1e-6)
    found = np.array([one.covariance for one in steps])
    np.testing.assert_allclose(found, whole.covariance, rtol=0, atol=1e-6 * whole.covariance.max())


def test_a_step_takes_less_than_a_millisecond_and_ten_thousand_less_than_ten_seconds(sixteen):
    model, counts = sixteen
    bare = KalmanSSL(latent_dim=16, max_epochs=1, device="cpu").fit(counts[:400])
    for one in (bare, model):
        one.reset()
        taken = []
        for x in counts[:300]:
            begun = time.process_time()
            one.step(x)
            taken.append(time.process_time() - begun)
        # A pause of the machine is not the step's: blocks of 50, the best of five.
        blocks = np.array(taken[50:]).reshape(5, 50).mean(axis=1)
        assert 10_000 * blocks.min() < (10.0 if one is bare else 20.0)
        assert np.median(taken) < (1e-3 if one is bare else 2e-3)
