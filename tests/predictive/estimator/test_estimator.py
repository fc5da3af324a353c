"""What an estimator gives: states and their covariances, forecasts, y, files and pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open

from predictive import KalmanSSL, RecurrentSSL
from predictive.filtering import kalman_filter, kalman_smoother
from tests.predictive.estimator.conftest import SMALL


def test_states_are_those_of_the_filter_and_the_smoother_of_its_model(kalman, recording):
    counts, _ = recording
    x = torch.tensor(counts, dtype=torch.float32)[None]
    with torch.no_grad():
        z, model = kalman.method_.encoder(x), kalman.method_.predictor.model(x)
        filtered, smoothed = kalman_filter(model, z), kalman_smoother(model, z)
    for found, expected in ((kalman.filter(counts), filtered.states),
                            (kalman.smooth(counts), smoothed.states)):  # fmt: skip
        np.testing.assert_allclose(found.mean, expected.mean[0], atol=1e-6)
        np.testing.assert_allclose(found.covariance, expected.covariance[0], atol=1e-5)
        np.testing.assert_allclose(found.latents, z[0], atol=1e-6)
    both = [kalman.smooth(counts[:100]), kalman.smooth([counts[:100], counts[:30]])]
    np.testing.assert_allclose(both[1].mean[0], both[0].mean, atol=1e-6)
    assert both[1].std[1].shape == (30, 3)
    assert (both[0].std[:50] <= kalman.filter(counts[:100]).std[:50] + 1e-6).all()


def test_transform_gives_what_output_names(kalman, recurrent, recording):
    counts, _ = recording
    named = {"states": kalman.filter(counts).mean, "smoothed": kalman.smooth(counts).mean,
             "latents": kalman.filter(counts).latents}  # fmt: skip
    for output, expected in named.items():
        np.testing.assert_array_equal(kalman.set_params(output=output).transform(counts), expected)
        names = kalman.get_feature_names_out()
        assert list(names) == ["kalmanssl0", "kalmanssl1", "kalmanssl2"]
    kalman.set_params(output="states")
    assert recurrent.filter(counts).covariance is None
    with pytest.raises(ValueError, match="output: expected states or latents"):
        recurrent.set_params(output="smoothed").transform(counts)
    recurrent.set_params(output="states")


def test_samples_are_of_the_model_and_a_recurrent_network_rolls_its_own_predictions(
    kalman, recurrent, recording
):
    states, latents = kalman.sample(20, n_samples=5, random_state=2)
    assert states.shape == latents.shape == (5, 20, 3)
    np.testing.assert_array_equal(kalman.sample(20, 5, 2)[0], states)
    counts = recording[0][:25]
    method = recurrent.method_
    with torch.no_grad():
        z = method.encoder(torch.tensor(counts, dtype=torch.float32)[None])
        for _ in range(4):
            h, _ = method.predictor.recurrent(z)
            z = torch.cat([z, method.predictor.head(h[:, -1:])], dim=1)
        h, _ = method.predictor.recurrent(z)
    found = recurrent.forecast(counts, 4)
    np.testing.assert_allclose(found.mean, h[0, -4:], atol=1e-6)
    assert (found.y_low <= found.y_high).all()
    with pytest.raises(ValueError, match="steps: expected a whole number from 1"):
        kalman.forecast(counts, 0)


@pytest.mark.parametrize("decoder", ["linear", "mlp"])
def test_a_file_has_all_of_an_estimator_and_nothing_pickled(recording, tmp_path, decoder):
    counts, place = recording
    both = np.stack([place, place**2], axis=1)
    own = KalmanSSL(**{**SMALL, "decoder": decoder, "max_epochs": 1}).fit(counts, both)
    path = own.save(tmp_path / "model.safetensors")
    again = KalmanSSL.load(path)
    for one, other in zip(own.predict(counts, True), again.predict(counts, True), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == (600, 2)
    assert again.get_params() == own.get_params()
    assert again.history_ == own.history_
    assert again.score(counts, both) == own.score(counts, both)
    with pytest.warns(UserWarning, match="y: not given, so that the decoder"):
        again.partial_fit(counts)
    with safe_open(path, framework="pt") as stored:
        assert {"predictive"} == stored.metadata().keys()
    with pytest.raises(ValueError, match=r"a file that RecurrentSSL\.save wrote"):
        RecurrentSSL.load(path)
    with pytest.raises(ValueError, match=r"a name that ends in \.safetensors"):
        own.save(tmp_path / "model.pkl")
    with pytest.raises(FileNotFoundError, match="a file that save wrote"):
        KalmanSSL.load(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="is no safetensors file"):
        KalmanSSL.load(path)


def test_training_goes_on_and_adapts_to_other_cells(kalman, recording):
    counts, place = recording
    begun = KalmanSSL(**SMALL).fit(counts)
    before = {key: value.clone() for key, value in begun.method_.state_dict().items()}
    still = KalmanSSL(**{**SMALL, "learning_rate": 0.0}).fit(counts, init=begun)
    for key, value in still.method_.state_dict().items():
        assert torch.equal(value, before[key]), key
    begun.partial_fit(counts[:300])
    after = begun.method_.state_dict()
    assert not torch.equal(after["encoder.network.0.weight"], before["encoder.network.0.weight"])
    assert torch.equal(after["encoder.mean"], before["encoder.mean"])
    fewer = KalmanSSL(**{**SMALL, "learning_rate": 0.0}).fit(counts[:, :5], place, init=kalman)
    old, new = kalman.method_.state_dict(), fewer.method_.state_dict()
    same = [key for key in old if old[key].shape == new[key].shape and (old[key] == new[key]).all()]
    assert {"predictor.matrix", "encoder.network.2.weight"} <= {*same}
    assert "encoder.mean" not in same
    with pytest.raises(ValueError, match=r"^latent_dim: expected 3, as init has, got 2"):
        KalmanSSL(**{**SMALL, "latent_dim": 2}).fit(counts, init=kalman)
    with pytest.raises(ValueError, match="init: expected a RecurrentSSL, got a KalmanSSL"):
        RecurrentSSL(**SMALL).fit(counts, init=kalman)
    with pytest.raises(ValueError, match=r"12 features.*fit\(X, init=model\)"):
        kalman.partial_fit(counts[:, :5])


def test_y_is_decoded_and_scored_where_it_is_known(recording):
    counts, place = recording
    known = np.where(np.arange(600) % 7 == 0, np.nan, place)
    model = KalmanSSL(**{**SMALL, "max_epochs": 20, "decoder": "mlp"}).fit(counts, known)
    assert model.score(counts, known) > 0.5
    decoded, low, high = model.predict(counts, return_interval=True)
    assert 0.85 < np.mean((low <= place) & (place <= high)) <= 1.0
    narrow = model.predict(counts, return_interval=True, level=0.5)
    assert (narrow[2] - narrow[1]).mean() < (high - low).mean()
    assert decoded.shape == (600,)
    without = KalmanSSL(**SMALL).fit(counts)
    assert np.isfinite(without.score(counts))
    with pytest.raises(ValueError, match="y: expected fit\\(X, y\\)"):
        without.predict(counts)
    with pytest.warns(UserWarning, match="y: expected at least 20 bins with a known y"):
        KalmanSSL(**SMALL).fit(counts, np.where(np.arange(600) < 5, place, np.nan))


def test_a_picture_shows_what_the_report_shows(kalman, recurrent, recording, tmp_path):
    counts, place = recording
    figure = kalman.plot(counts, place)
    text = " ".join(one.get_text() for axes in figure.axes for one in axes.texts)
    title = " ".join(one.get_text() for one in figure.texts)
    assert "latent_dim 3" in title + text
    assert recurrent.plot(counts, path=tmp_path / "plot.png").stat().st_size > 20_000


def test_a_bar_is_shown_if_asked_for(recording, capsys):
    KalmanSSL(**SMALL).fit(recording[0])
    assert capsys.readouterr().out == ""
    KalmanSSL(**SMALL, verbose=True).fit(recording[0])
    assert "epoch 2/2" in capsys.readouterr().out
