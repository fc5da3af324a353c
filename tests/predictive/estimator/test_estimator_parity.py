"""The estimator and the command are one training: the same weights, states and scores."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from predictive import KalmanSSL, RecurrentSSL
from predictive.commands.predictive import predictive
from predictive.configuration import complete_predictive
from predictive.filtered import filter_sequences
from predictive.runs import read_run
from predictive.training import build_data
from solo_ldm import zoo
from tests.support.predictive.runs import config

TOLD = (
    *("data.folds=2", "data.window=40", "data.stride=10", "data.running_only=false"),
    "data.bin_seconds=0.025",
    *("predictor.latent_dim=4", "encoder.hidden_dim=8", "max_epochs=2", "optimizer.batch_size=4"),
    *("evaluation.kinds=[linear]", "data.block_seconds=3"),
)
PARAMS = {
    "latent_dim": 4,
    "hidden_dim": 8,
    "max_epochs": 2,
    "batch_size": 4,
    "window": 40,
    "stride": 10,
    "feature_dropout": 0.2,
    "history": 1.0,
    "decoder": "linear",
    "random_state": 5,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recording):
    """A run of the command on a recording, and its data."""
    folder = tmp_path_factory.mktemp("runs")
    counts, place = recording
    times = np.arange(len(place)) * 0.025 + 0.0125
    np.savez(folder / "rat.npz", counts=counts, times=times, position=place)
    cfg = config(folder, f"data.path={folder / 'rat.npz'}", *TOLD, name="recording")
    outcome = predictive(cfg)
    assert outcome is not None
    return outcome, build_data(complete_predictive(cfg))


def lists(sequences):
    """The sequences as a user has them: arrays of different lengths."""
    lengths = sequences.lengths.tolist()
    pairs = zip(sequences.inputs, sequences.targets["position"], lengths, strict=True)
    both = [(x[:n].numpy(), y[:n].numpy()) for x, y, n in pairs]
    return [x for x, _ in both], [y for _, y in both]


def test_the_same_configuration_on_the_same_sequences_gives_the_command_s_weights_and_scores(
    trained,
):
    outcome, data = trained
    own = KalmanSSL(**PARAMS).fit(*lists(data.train))
    _, method = read_run(outcome.folder.path)
    for key, value in method.state_dict().items():
        assert torch.equal(own.method_.state_dict()[key], value), key
    held_out = filter_sequences(method, data.held_out, torch.device("cpu"))
    states = own.transform(lists(data.held_out)[0])
    for number, one in enumerate(states):
        np.testing.assert_allclose(one, held_out.states[number, : len(one)], atol=1e-6)
    results = json.loads(outcome.folder.results.read_text())["results"]
    (r2,) = [
        one["r2"]
        for one in results["decoding"]["position"]
        if (one["features"], one["decoder"]) == ("latent state", "linear")
    ]
    assert own.score(*lists(data.held_out)) == pytest.approx(r2, abs=1e-6)
    inputs, places = lists(data.held_out)
    _, low, high = own.predict(inputs, return_interval=True)
    inside = [(a <= y) & (y <= b) for a, y, b in zip(low, places, high, strict=True)]
    covered = results["intervals"]["position"]["coverage"]
    assert np.concatenate(inside).mean() == pytest.approx(covered, abs=2e-3)


def test_a_run_s_folder_loads_as_an_estimator_and_from_the_zoo(trained):
    outcome, data = trained
    inputs = lists(data.held_out)[0][0]
    own = KalmanSSL.load(outcome.folder.path)
    model = zoo.load(str(outcome.folder.path))
    expected = own.transform(inputs)
    found = model.features(torch.from_numpy(inputs)[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    again = own.partial_fit(inputs)
    assert again.n_features_in_ == inputs.shape[1]
    with pytest.raises(ValueError, match="expected a run of method=recurrent, got kalman"):
        RecurrentSSL.load(outcome.folder.path)
    with pytest.raises(FileNotFoundError, match="expected the folder of a run"):
        KalmanSSL.load(outcome.folder.path.parent)


LIGHT = """
import sys
before = {*sys.modules}
import predictive
assert {"KalmanSSL", "RecurrentSSL"} <= {*dir(predictive)} and not hasattr(predictive, "PCA")
print(*sorted({*sys.modules} - before))
"""


def test_the_package_imports_nothing_before_an_estimator_is_asked_for():
    ended = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert ended.stdout.split() == ["predictive"], ended.stderr
