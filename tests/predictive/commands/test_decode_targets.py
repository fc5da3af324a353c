"""`solo-ldm decode` of an angle, a category and a place that is infinite in part; of signals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rich.console import Console

from predictive.commands.decode import decode
from tests.support.predictive.runs import config


@pytest.mark.parametrize("kind", ["counts", "signals"])
def test_an_angle_and_a_category_are_decoded_over_all_folds(tmp_path, kind):
    times = (np.arange(2400) + 0.5) * 0.025
    head = times / 7 % 1 * 360
    tuned = 20 * np.exp(np.cos(np.radians(head[:, None] - np.arange(0, 360, 30))) - 1)
    generator = np.random.default_rng(0)
    observed = {
        "counts": generator.poisson(tuned * 0.025),
        "signals": tuned / 20 + 0.1 * generator.normal(size=tuned.shape),
    }[kind]
    place = np.sin(np.radians(head))
    place[[*range(700, 760), 1700]] = np.inf
    cue = np.where(head < 180, "a", "b")
    path = tmp_path / "fly.npz"
    placed = {"position": place} if kind == "counts" else {}
    np.savez(path, times=times, head=head, cue=cue, **{kind: observed}, **placed)
    given = [
        f"data.path={path}", "data.running_only=false", "data.block_seconds=5", "data.folds=2",
        "data.bin_seconds=0.025",
        "data.targets={head: degrees, cue: categorical}", "~decoders.position",
        "optimizer.batch_size=8", "data.window=40", "data.stride=20", "max_epochs=1",
        "encoder.hidden_dim=8", "predictor.latent_dim=3", "evaluation.kinds=[linear]",
        "evaluation.smoothing_seconds=[0.5]",
    ]  # fmt: skip
    outcome = decode(config(tmp_path / "runs", *given, name="recording"), Console(quiet=True))
    assert outcome is not None
    found = outcome.results["results"]
    smooth = {target: one["scores"][-2] for target, one in found.items()}
    assert {one["features"] for one in smooth.values()} == {
        {"counts": "spikes", "signals": "signals"}[kind] + ", 0.5 s mean"
    }
    assert smooth["head"]["median_absolute_error"] < 30
    if placed:  # bins of an infinite position are left out of its scores and of its interval
        assert smooth["position"]["num_test_bins"] == 2400 - 61
        assert smooth["position"]["r2"] > 0.3
        assert 0.5 < found["position"]["coverage"] <= 1.0
    assert smooth["cue"]["accuracy"] > 0.8 > 0.6 > smooth["cue"]["chance_accuracy"]
    assert smooth["cue"]["log_loss"] < smooth["cue"]["chance_log_loss"]
    assert all(math.isfinite(one["r2"]) for target in found.values() for one in target["scores"])
