"""Distributed predictive training has the gradients and the weights of the whole batch."""

from __future__ import annotations

import json

import pytest
import torch

from predictive.data.sequences import Sequences
from predictive.data.simulated.moving_dot import moving_dot
from predictive.method import PredictiveMethod
from solo_ldm.cli import run_command
from solo_ldm.run.folder import RunFolder
from tests.support.predictive.runs import SMALL, rows, run, trained
from tests.support.predictive.toy import method_config
from tests.support.processes import launch


def test_two_processes_of_torchrun_or_srun_train_as_one_with_the_whole_batch(tmp_path):
    overrides = (*SMALL["figure8"], "objective.entropy=logdet", "objective.over=joint")
    overrides = (*overrides, "precision=64-true", "accelerator=cpu", "evaluation.report=false")
    one = run(tmp_path / "one", *overrides, "optimizer.batch_size=8")
    # A comparison that waited for the other process would never end.
    compared = "evaluation.compare_gradients_every=3"
    shared = ("devices=2", "strategy=ddp", "optimizer.batch_size=4", compared)
    for srun in (False, True):
        place = tmp_path / f"srun={srun}"
        arguments = ["--config-name", "figure8", *overrides, *shared, f"checkpoint.dir={place}"]
        printed = launch(2, run_command, "predictive", arguments, srun=srun)
        assert [text.count("writing to") for text in printed] == [1, 0]
        (path,) = (place / "kalman").iterdir()
        two = RunFolder(path)
        assert json.loads(two.results.read_text())["num_processes"] == 2
        weights, expected = trained(two)["state_dict"], trained(one.folder)["state_dict"]
        assert weights.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-8, msg=key)
        for row, expected_row in zip(rows(two), rows(one.folder), strict=True):
            for key in ("train_ldm_loss", "train_entropy", "val_position_r2"):
                assert float(row[key]) == pytest.approx(float(expected_row[key]), rel=1e-5)


@pytest.mark.parametrize(
    ("entropy", "over"),
    [
        ("neighbour", "marginal"),
        ("neighbour", "joint"),
        ("logdet", "joint"),
        ("contrastive", "marginal"),
        ("stop_gradient", "marginal"),
    ],
)
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
