"""What y may be: an angle, decoded along its circle, or one of some labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from predictive import KalmanSSL, RecurrentSSL
from predictive.data.targets import categories_of
from predictive.decoding.score import decode
from predictive.estimator.decoding import TargetDecoder
from predictive.estimator.targets import read_targets, target_kind
from tests.predictive.estimator.conftest import SMALL

TRAINED = {**SMALL, "max_epochs": 25, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def turning():
    """Counts (800, 12) of head-direction cells, and the angle in radians, which wraps 7 times."""
    angle = (np.arange(800) * 0.055) % (2 * np.pi)
    preferred = np.arange(12) * np.pi / 6
    rates = 3.0 * np.exp(4.0 * (np.cos(angle[:, None] - preferred) - 1.0))
    return np.random.default_rng(0).poisson(rates).astype(float), angle


@pytest.fixture(scope="module")
def compass(turning):
    return KalmanSSL(**TRAINED, target="radians").fit(*turning)


@pytest.fixture(scope="module")
def labelled(turning):
    counts, angle = turning
    return KalmanSSL(**TRAINED, target="categorical").fit(counts, side(angle))


def side(angle):
    return np.where(np.sin(angle) > 0, "left", "right")


def apart(one, other, period=2 * np.pi):
    return np.abs((one - other + period / 2) % period - period / 2)


def test_an_angle_is_decoded_along_its_circle_in_its_unit(compass, turning):
    counts, angle = turning
    decoded, low, high = compass.predict(counts, return_interval=True)
    assert decoded.shape == (800,)
    assert ((decoded >= 0) & (decoded < 2 * np.pi)).all()
    assert np.median(apart(decoded, angle)) < 0.3
    # A number in place of an angle is decoded half way round where it wraps.
    near_wrap = np.minimum(angle, 2 * np.pi - angle) < 0.3
    assert np.median(apart(decoded, angle)[near_wrap]) < 0.4
    assert ((low <= high) & (high - low <= 2 * np.pi + 1e-9)).all()
    middle = (low + high) / 2
    inside = apart(angle, middle) <= (high - low) / 2
    assert 0.8 < inside.mean() < 1.0  # calibrated on a quarter of 800 bins
    assert ((low <= decoded) & (decoded <= high)).all()
    assert ((low < 0) | (high > 2 * np.pi)).any()
    # R² is that of cosine and sine, as the command has it.
    found = compass._filtered(compass._read(counts).sequences())
    columns = torch.tensor(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    states = found.rows(found.states)
    pair, kind = (columns, columns), compass.decoder_.target
    expected = decode({"s": (states, states)}, pair, ("linear",), found.groups(), 1, target=kind)
    assert compass.score(counts, angle) == pytest.approx(expected[0].r2, abs=1e-6)
    assert compass.score(counts, angle + 2 * np.pi) == pytest.approx(compass.score(counts, angle))
    for unit, period in (("degrees", 360.0), (24, 24.0)):
        settings = {**TRAINED, "random_state": 0, "target": unit}
        other = KalmanSSL(**settings).fit(counts, angle * period / (2 * np.pi))
        np.testing.assert_allclose(
            apart(other.predict(counts), decoded * period / (2 * np.pi), period), 0, atol=1e-3
        )


def test_an_angle_is_known_one_bin_at_a_time_ahead_and_after_loading(compass, turning, tmp_path):
    counts, angle = turning
    again = KalmanSSL.load(compass.save(tmp_path / "model.safetensors"))
    for one, other in zip(compass.predict(counts, True), again.predict(counts, True), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.score(counts, angle) == compass.score(counts, angle)
    again.reset()
    steps = [again.step(x) for x in counts[:40]]
    whole = compass.predict(counts[:40], True)
    for name, values in zip(("y", "y_low", "y_high"), whole, strict=True):
        stepped = np.array([getattr(one, name)[0] for one in steps])
        np.testing.assert_allclose(apart(stepped, values), 0.0, atol=1e-3)
    ahead = compass.forecast(counts, 3)
    assert (ahead.y_low <= ahead.y_high).all()
    assert compass.plot(counts, angle, tmp_path / "plot.png").stat().st_size > 20_000


@pytest.mark.parametrize("kind", ["text", "int32", "bool", "float with NaN", "pandas", "list"])
def test_labels_come_back_as_they_were_given(turning, kind):
    counts, angle = turning
    is_left = np.sin(angle) > 0
    y = {
        "text": side(angle),
        "int32": np.where(is_left, 7, 30).astype(np.int32),
        "bool": is_left,
        "float with NaN": np.where(np.arange(800) % 9 == 0, np.nan, is_left),
        "pandas": pd.Series(side(angle)).where(np.arange(800) % 9 != 0),
        "list": side(angle).tolist(),
    }[kind]
    model = RecurrentSSL(**{**SMALL, "max_epochs": 8}, target="categorical").fit(counts, y)
    decoded = model.predict(counts)
    known = ~pd.isna(pd.Series(y)).to_numpy()
    truth = np.asarray(y)[known]
    accuracy = np.mean(decoded[known] == truth)
    assert accuracy > 0.7
    assert model.score(counts, y) == pytest.approx(accuracy)
    assert set(np.unique(decoded)) <= set(truth)
    if kind in ("text", "int32", "bool"):
        assert decoded.dtype == np.asarray(y).dtype
    probability = model.predict_proba(counts)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.classes_[probability.argmax(axis=1)], decoded)


def test_labels_are_kept_scored_and_never_guessed(labelled, turning, tmp_path):
    counts, angle = turning
    y = side(angle)
    again = KalmanSSL.load(labelled.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(again.predict(counts), labelled.predict(counts))
    assert again.classes_.tolist() == ["left", "right"]
    score = again.score(counts, y)
    # A label that the training had not is wrong, an unknown one is left out.
    assert again.score(counts, np.where(np.arange(800) < 400, "up", y)) < score / 2 + 0.1
    half = again.score(counts, np.where(np.arange(800) < 400, "", y))
    assert half == np.mean(again.predict(counts)[400:] == y[400:])
    assert again.step(counts[0]).y.tolist() == again.predict(counts[:1]).tolist()
    assert again.step(counts[0]).y_low is None
    assert again.forecast(counts, 2).y.dtype == y.dtype
    assert labelled.plot(counts, y, tmp_path / "plot.png").stat().st_size > 20_000
    with pytest.raises(ValueError, match=r"return_interval: expected a y of numbers .* categor"):
        labelled.predict(counts, return_interval=True)
    tensor = labelled.predict(torch.tensor(counts))
    np.testing.assert_array_equal(tensor, labelled.predict(counts))


def test_numbers_of_one_value_are_one_label_and_others_are_not(turning, labelled):
    counts, _ = turning
    inputs = labelled._read(counts)
    kind = target_kind("categorical")
    ints = read_targets(np.arange(800) % 3 + 1_000_001, inputs, kind)
    assert len(ints.kind.categories) == 3
    assert categories_of("cue", np.array([1_000_001, 1_000_002])) == ("1000001", "1000002")
    floats = read_targets(np.arange(800) % 3 + 1_000_001.0, inputs, ints.kind, ints.classes)
    np.testing.assert_array_equal(floats.columns[0], ints.columns[0])


@pytest.mark.parametrize(
    ("target", "y", "words"),
    [
        ("gradians", "place", "target: expected continuous, radians, degrees, categorical or a"),
        (-1.0, "place", "target: expected .* a period above 0, got -1.0"),
        ([1], "place", r"target: expected .* got \[1\]"),
        ("radians", "two", "y: expected one column of a circular target, got 2"),
        ("categorical", "two", "y: expected one column of a categorical target, got 2"),
        ("categorical", "place", "y: expected 2 to 100 categories, got 800 different ones"),
        ("categorical", "mixed", r"y: expected labels that differ as texts of 15 digits, got 2 of"),
    ],
)
def test_what_y_cannot_be_is_refused_in_one_line(turning, target, y, words):
    counts, angle = turning
    mixed = np.array([1, "1"] * 400, dtype=object)
    values = {"place": angle + np.arange(800), "two": np.stack([angle, angle], 1), "mixed": mixed}
    with pytest.raises(ValueError, match=words) as refused:
        KalmanSSL(**SMALL, target=target).fit(counts, values[y])
    assert "\n" not in str(refused.value)


def test_an_angle_that_is_taken_for_a_number_is_warned_of(turning):
    counts, angle = turning
    with pytest.warns(UserWarning, match="y: jumps over nearly its range .* set target='radians'"):
        KalmanSSL(**{**SMALL, "max_epochs": 1}).fit(counts, angle)
    # Neither numbers that are said to jump, nor two levels, nor noise.
    KalmanSSL(**{**SMALL, "max_epochs": 1}, target="continuous").fit(counts, angle)
    levels, noise = (angle > 3).astype(float), np.random.default_rng(0).random(800)
    for y in (levels, noise):
        KalmanSSL(**{**SMALL, "max_epochs": 1}).fit(counts, y)
    assert not hasattr(KalmanSSL(), "predict_proba")
    assert not hasattr(KalmanSSL(), "classes_")


def test_a_column_is_decoded_as_if_it_were_alone(turning):
    counts, angle = turning
    place = np.cos(angle)
    noise = 1e4 * np.random.default_rng(0).normal(size=800)
    alone = KalmanSSL(**SMALL).fit(counts, place)
    both = KalmanSSL(**SMALL).fit(counts, np.stack([place, noise], axis=1))
    for one, pair in zip(alone.predict(counts, True), both.predict(counts, True), strict=True):
        np.testing.assert_allclose(pair[:, 0], one, rtol=1e-6, atol=1e-9)
    tensors, about = both.decoder_.written()
    for name in ("decoder", "interval"):  # a file of a version with one penalty for all
        about[f"{name}.penalty"] = float(tensors.pop(f"y.{name}.penalty")[0])
    again = TargetDecoder.read(tensors, about)
    assert again.decoder.penalty.shape == (2,)
    states = torch.from_numpy(both.transform(counts))
    assert torch.equal(again.predict(states), both.decoder_.predict(states))
