"""Predictive runs: what they leave behind, and that an interruption changes nothing."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from rich.console import Console

from predictive.commands.predictive import predictive
from predictive.data.sequences import Sequences
from predictive.data.simulated.moving_dot import moving_dot
from predictive.method import PredictiveMethod
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome
from tests.support import ROOT
from tests.support.predictive_toy import method_config

# As little as trains: 4 steps an epoch.
FRAMES = (
    "data.num_train=32",
    "data.num_held_out=8",
    "data.num_steps=12",
    "data.frame_size=6",
    "max_epochs=3",
)
SMALL = {
    "figure8": FRAMES,
    "circular": (*FRAMES, "optimizer.batch_size=8"),
    "nonlinear_system": (*FRAMES, "optimizer.batch_size=8", "encoder.hidden_dim=16"),
    "ornstein_uhlenbeck": (*FRAMES[:3], "max_epochs=2"),
}


def config(folder: Path, *overrides: str, name: str = "figure8") -> DictConfig:
    """Compose a packaged config, cut down to run in a second, with files under `folder`."""
    where = ("accelerator=cpu", f"checkpoint.dir={folder}", "evaluation.report=false")
    with initialize_config_module("predictive.configs", version_base="1.3"):
        return compose(name, overrides=[*where, *SMALL.get(name, ()), *overrides])


def run(folder: Path, *overrides: str, name: str = "figure8") -> Outcome:
    outcome = predictive(config(folder, *overrides, name=name), Console(quiet=True))
    assert outcome is not None
    return outcome


def rows(folder: RunFolder) -> list[dict[str, str]]:
    with folder.metrics.open(newline="") as stream:
        return list(csv.DictReader(stream))


def trained(folder: RunFolder) -> dict[str, Any]:
    """What a checkpoint holds, without the seconds that training took."""
    kept = torch.load(folder.last, weights_only=True)
    kept["callbacks"] = {k: v for k, v in kept["callbacks"].items() if "Clock" not in k}
    return {
        key: kept[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks")
    }


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Assert that nested containers are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{i}")
    else:
        assert one == other, where


# --- what a run leaves behind --------------------------------------------------------------------

PICTURES = {
    "circular": {"frames", "history", "latents", "noise", "position", "report", "scores", "space"},
    "ornstein_uhlenbeck": {"history", "latents", "position", "report", "scores", "space"},
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_run_leaves_everything_it_promises_and_the_pictures_that_its_kind_has(
    tmp_path, capsys, name
):
    compare = ("evaluation.report=true", "evaluation.compare_gradients_every=2")
    outcome = predictive(config(tmp_path, *compare, name=name))
    assert outcome is not None
    folder = outcome.folder
    names = {path.name for path in folder.path.iterdir()}
    pictures = {f"{picture}.png" for picture in PICTURES[name]}
    assert names == {"args.json", "checkpoints", "metrics.csv", "results.json", *pictures}
    assert all((folder.path / picture).stat().st_size > 5_000 for picture in pictures)
    assert {path.name for path in folder.last.parent.iterdir()} == {"last.ckpt", "best.ckpt"}
    assert json.loads(folder.args.read_text())["data"]["num_train"] == 32
    results = json.loads(folder.results.read_text())
    promised = (
        "method entropy over dataset data settings epochs seed hardware num_processes precision "
        "versions commit finished seconds final_terms results"
    )
    assert set(promised.split()) <= results.keys()
    assert {"python", "torch", "lightning", "solo_ldm"} <= results["versions"].keys()
    assert results["seed"] == 5
    found = results["results"]
    for target, scores in found["decoding"].items():
        features = {score["features"] for score in scores}
        assert features == {"latent state", "latents", "untrained state"}
        for score in scores:
            assert score["null_mean"] <= score["null_high"] < 0.7
            assert -5.0 < score["r2"] <= 1.0
            assert score["num_train_bins"] == 32 * 12
            assert score["num_test_bins"] == 8 * 12
        interval = found["intervals"][target]
        assert 0.5 < interval["coverage"] <= 1.0
        low, high = interval["coverage_interval"]
        assert low <= interval["coverage"] <= high
    assert (found["identifiability"] is None) == (name == "circular")
    assert (found["noise_correlation"] is None) == (name != "circular")
    assert all({"step", "marginal", "joint"} == row.keys() for row in found["gradient_cosine"])
    assert len(rows(folder)) == results["epochs"]
    shown = capsys.readouterr().out
    assert "R²" in shown
    assert "next:" in shown


LEARNS = (
    "data.num_train=256",
    "data.num_held_out=16",
    "data.num_steps=20",
    "data.observation_noise=0.1",
    "max_epochs=6",
    "+decoders.position.lr=2",
    "~decoders.frames",
)


def test_a_short_run_decodes_position_far_better_than_chance_and_than_untrained_latents(tmp_path):
    outcome = run(tmp_path, *LEARNS)
    after = outcome.results["results"]["decoding"]["position"]
    by_name = {score["features"]: score for score in after}
    assert by_name["latent state"]["r2"] > by_name["untrained state"]["r2"] + 0.12
    for name in ("latent state", "latents"):
        assert by_name[name]["r2"] > by_name[name]["null_high"] + 0.5
    # Decoders that look on during training see the same latents and bins as those fitted after it.
    online = outcome.results["results"]["online_r2"]["position"]
    assert online == float(rows(outcome.folder)[-1]["val_position_r2"])
    assert after[0]["r2"] - 0.1 < online < after[0]["r2"] + 0.02


# --- the same again ------------------------------------------------------------------------------

# Fewer samples than latents: which are drawn is random. 4 steps an epoch.
RANDOM = ("objective.entropy=neighbour", "objective.num_samples=40")
CASES = {
    "kalman": ("figure8", (*RANDOM, "evaluation.compare_gradients_every=3")),
    "recurrent": ("nonlinear_system", (*RANDOM, "predictor.variance=state")),
    "stop_gradient": ("circular", ("evaluation.compare_gradients_every=2",)),
}


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    look = StopAtNonFinite.on_train_batch_end

    def die(self, trainer, *rest):
        look(self, trainer, *rest)
        if trainer.global_step == step:
            raise InterruptedError("as if the power had failed")

    monkeypatch.setattr(StopAtNonFinite, "on_train_batch_end", die)


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
    assert other.folder.metrics.read_text() != whole.folder.metrics.read_text()


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from tests.predictive.commands.test_predictive_run import run

look = StopAtNonFinite.on_train_batch_end

def die(self, trainer, *rest):
    look(self, trainer, *rest)
    if trainer.global_step == 10:
        os.kill(os.getpid(), signal.SIGKILL)

StopAtNonFinite.on_train_batch_end = die
run(Path(sys.argv[2]), *sys.argv[3:])
"""


def test_killed_in_an_epoch_and_started_again_gives_the_same_weights_bit_for_bit(tmp_path):
    _, overrides = CASES["kalman"]
    whole = run(tmp_path / "whole", *overrides)
    command = [sys.executable, "-c", KILLED, str(ROOT), str(tmp_path / "killed")]
    killed = subprocess.run([*command, *overrides], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    unfinished = RunFolder(next((tmp_path / "killed" / "kalman").iterdir()))
    assert unfinished.last.exists()
    assert not unfinished.finished
    resumed = run(tmp_path / "killed", *overrides)
    assert resumed.folder.path == unfinished.path
    assert_same(trained(resumed.folder), trained(whole.folder))
    assert rows(resumed.folder) == rows(whole.folder)
    assert resumed.results["results"] == whole.results["results"]


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


# --- two processes -------------------------------------------------------------------------------


def test_two_processes_train_as_one_with_the_whole_batch(tmp_path):
    overrides = (*SMALL["figure8"], "objective.entropy=logdet", "objective.over=joint")
    overrides = (*overrides, "precision=64-true", "accelerator=cpu", "evaluation.report=false")
    one = run(tmp_path / "one", *overrides, "optimizer.batch_size=8")
    command = [sys.executable, str(ROOT / "main_predictive.py"), "--config-name", "figure8"]
    shared = ("devices=2", "strategy=ddp", "optimizer.batch_size=4", f"checkpoint.dir={tmp_path}/2")
    # A comparison that waited for the other process would never end.
    compared = "evaluation.compare_gradients_every=3"
    done = subprocess.run(
        [*command, *overrides, *shared, compared],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("writing to") == 1
    (path,) = (tmp_path / "2" / "kalman").iterdir()
    two = RunFolder(path)
    assert json.loads(two.results.read_text())["num_processes"] == 2
    weights, expected = trained(two)["state_dict"], trained(one.folder)["state_dict"]
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-8, msg=key)
    for row, expected_row in zip(rows(two), rows(one.folder), strict=True):
        for key in ("train_ldm_loss", "train_entropy", "val_position_r2"):
            assert float(row[key]) == pytest.approx(float(expected_row[key]), rel=1e-5)


ENTROPIES = ("neighbour", "kernel", "logdet", "logdet_expansion", "contrastive", "stop_gradient")


@pytest.mark.parametrize("over", ["marginal", "joint"])
@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("name", ["figure8", "nonlinear_system"])
def test_shards_that_share_their_latents_have_the_gradient_of_the_whole_batch(
    monkeypatch, name, entropy, over
):
    """Distributed training averages the gradients of what each process computes.

    Gathering is played in one process: a first pass notes what each shard brings, in a second one
    each shard is given what all have brought, with its graph, as the adjoint of `gather` gives.
    """
    objective = (f"objective.entropy={entropy}", f"objective.over={over}")
    cfg = method_config(*objective, "objective.num_samples=1000", name=name)
    cfg.decoders = {}
    made = moving_dot(num_train=8, num_held_out=1, num_steps=6, frame_size=4, seed=1).train
    method = PredictiveMethod(cfg, 16, {}).double()
    whole = _loss(method, made)
    shards = [made.select(slice(0, 4)), made.select(slice(4, 8))]
    brought: list[list[torch.Tensor]] = [[], []]
    for shard, noted in zip(shards, brought, strict=True):
        monkeypatch.setattr("predictive.objective.gather", lambda z, n=noted: n.append(z) or z)
        _loss(method, shard)
    losses = []
    for shard in shards:
        shared = iter([torch.cat(parts) for parts in zip(*brought, strict=True)])
        monkeypatch.setattr("predictive.objective.gather", lambda z, s=shared: next(s))
        losses.append(_loss(method, shard))
    together = (losses[0] + losses[1]) / 2
    parameters = [p for p in method.parameters() if p.requires_grad]
    torch.testing.assert_close(together, whole, rtol=1e-10, atol=1e-10)
    for gradient, expected in zip(
        torch.autograd.grad(together, parameters, allow_unused=True),
        torch.autograd.grad(whole, parameters, allow_unused=True),
        strict=True,
    ):
        assert (gradient is None) == (expected is None)
        if expected is not None:
            torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-9)


def _loss(method: PredictiveMethod, sequences: Sequences) -> torch.Tensor:
    return method.objective(method(sequences.inputs.double()), sequences.mask).loss
