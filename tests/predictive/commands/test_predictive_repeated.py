"""Predictive runs made again, interrupted or watched give the same numbers."""

from __future__ import annotations

import pytest

from solo_ldm.run.folder import RunFolder
from solo_ldm.run.resume import load_checkpoint
from tests.support.predictive.runs import assert_same, die_at, rows, run, trained
from tests.support.processes import kill_at

# Fewer samples than latents: which are drawn is random. 4 steps an epoch.
RANDOM = ("objective.entropy=neighbour", "objective.num_samples=40")
CASES = {
    "kalman": ("figure8", (*RANDOM, "evaluation.compare_gradients_every=3")),
    "recurrent": ("nonlinear_system", (*RANDOM, "predictor.variance=state")),
    "stop_gradient": ("circular", ("evaluation.compare_gradients_every=2",)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_gives_the_same_numbers_and_so_does_a_run_stopped_and_continued(
    tmp_path, case
):
    name, overrides = CASES[case]
    whole, again = (run(tmp_path / "whole", *overrides, name=name) for _ in range(2))
    assert whole.folder.path != again.folder.path
    # 4 steps an epoch: step 6 is in the middle of the second.
    with pytest.MonkeyPatch.context() as monkeypatch:
        die_at(monkeypatch, 6)
        with pytest.raises(InterruptedError):
            run(tmp_path / "stopped", *overrides, name=name)
    (unfinished,) = (RunFolder(path) for path in (tmp_path / "stopped").glob("*/*"))
    assert not unfinished.finished
    resumed = run(tmp_path / "stopped", *overrides, name=name)
    assert resumed.folder.path == unfinished.path
    other = run(tmp_path / "other", *overrides, "seed=6", name=name)
    for same in (again, resumed):
        assert same.folder.metrics.read_text() == whole.folder.metrics.read_text()
        assert_same(trained(same.folder), trained(whole.folder))
        assert same.results["results"] == whole.results["results"]
        if whole.folder.gradients.exists():
            assert same.folder.gradients.read_text() == whole.folder.gradients.read_text()
    assert other.folder.metrics.read_text() != whole.folder.metrics.read_text()


def test_killed_in_an_epoch_and_started_again_gives_the_same_weights_bit_for_bit(tmp_path):
    _, overrides = CASES["kalman"]
    whole = run(tmp_path / "whole", *overrides)
    kill_at(10, run, tmp_path / "killed", *overrides)
    unfinished = RunFolder(next((tmp_path / "killed" / "kalman").iterdir()))
    assert unfinished.last.exists()
    assert not unfinished.finished
    resumed = run(tmp_path / "killed", *overrides)
    assert resumed.folder.path == unfinished.path
    assert_same(trained(resumed.folder), trained(whole.folder))
    assert rows(resumed.folder) == rows(whole.folder)
    assert resumed.results["results"] == whole.results["results"]


def test_a_checkpoint_is_continued_at_the_rates_and_the_batch_of_the_configuration(tmp_path):
    source = run(tmp_path / "source", "optimizer.batch_size=8").folder
    changes = ("optimizer.batch_size=16", "max_epochs=6", f"resume_from_checkpoint={source.last}")
    outcome = run(tmp_path / "other", *changes)
    before, after = (load_checkpoint(folder.last) for folder in (source, outcome.folder))
    # 2 steps in each of 6 epochs, half of which were done with 4 steps each.
    assert (before["global_step"], after["global_step"]) == (12, 12)
    rates = [
        [group["initial_lr"] for group in one["optimizer_states"][0]["param_groups"]]
        for one in (before, after)
    ]
    assert rates[1] == pytest.approx([2 * rate for rate in rates[0]])
    (origin,) = outcome.results["continued_from"]
    assert origin["changed"] == {"max_epochs": [3, 6], "optimizer.batch_size": [8, 16]}
    with pytest.raises(ValueError, match=r"optimizer.name: expected adam, which .* got sgd"):
        run(tmp_path / "new", *changes, "optimizer.name=sgd")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("entropy", ["stop_gradient", "neighbour"])
def test_comparing_gradients_does_not_change_the_training(tmp_path, entropy):
    # More than 512 latents a step, so that the comparison draws random numbers of its own.
    large = ("data.num_train=64", "data.num_steps=20", "optimizer.batch_size=32", "max_epochs=2")
    overrides = (*large, f"objective.entropy={entropy}", "objective.num_samples=40")
    with_it, without = (
        run(tmp_path / str(every), *overrides, f"evaluation.compare_gradients_every={every}")
        for every in (1, 0)
    )
    assert [row["step"] for row in with_it.results["results"]["gradient_cosine"]] == [0, 1, 2, 3]
    assert without.results["results"]["gradient_cosine"] is None
    assert rows(with_it.folder) == rows(without.folder)
    keys = ("state_dict", "optimizer_states")
    one, other = (trained(outcome.folder) for outcome in (with_it, without))
    assert_same({key: one[key] for key in keys}, {key: other[key] for key in keys})
