"""Simulated fluorescence is that of the simulated spikes, and a method learns from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from predictive.data.simulated.calcium import calcium
from predictive.data.simulated.place_cells import place_cells
from tests.support.predictive.runs import run

SMALL = {"num_cells": 8, "duration_seconds": 60.0, "block_seconds": 10.0, "bin_seconds": 0.04}


def session(data):
    """The inputs of all bins in the order of time."""
    parts = (data.train, data.held_out)
    pieces = [
        (float(start), inputs[:n])
        for part in parts
        for start, inputs, n in zip(part.start_seconds, part.inputs, part.lengths, strict=True)
    ]
    return torch.cat([one for _, one in sorted(pieces, key=lambda piece: piece[0])]).double()


def test_fluorescence_without_noise_is_the_spikes_with_an_exponential_decay():
    seen = session(calcium(**SMALL, response_noise=0.0, lost_frames=0.0)) / 0.2
    spikes = session(place_cells(**SMALL, theta_depth=0.0, running_only=False))
    decay = math.exp(-0.04 / 0.5)
    np.testing.assert_allclose(seen[1:], decay * seen[:-1] + spikes[1:], atol=1e-5)


def test_lost_frames_are_missing_in_all_cells_and_noise_is_real_and_negative():
    data = calcium(**SMALL, lost_frames=0.2)
    seen = session(data)
    lost = seen.isnan().any(dim=1)
    assert torch.equal(lost, seen.isnan().all(dim=1))
    assert float(lost.double().mean()) == pytest.approx(0.2, abs=0.05)
    assert (seen < 0).any()
    assert data.kind == "signals"
    assert torch.equal(session(calcium(**SMALL, lost_frames=0.2)).nan_to_num(), seen.nan_to_num())


def test_a_run_on_fluorescence_is_decoded_beside_the_signals_themselves(tmp_path):
    given = [f"data.{key}={value}" for key, value in SMALL.items()]
    given += ["data.window=50", "optimizer.batch_size=4", "max_epochs=1", "encoder.hidden_dim=8"]
    given += ["predictor.latent_dim=3", "evaluation.kinds=[linear]"]
    found = run(tmp_path, *given, name="calcium").results["results"]["decoding"]["position"]
    names = [one["features"] for one in found]
    assert {"latent state", "signals", "signals, 1 s mean"} <= set(names)
    assert all(math.isfinite(one["r2"]) for one in found)
