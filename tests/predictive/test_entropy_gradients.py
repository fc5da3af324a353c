"""Gradients of entropies beside each other: of known size and direction, and without a trace."""

from __future__ import annotations

import math
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from torch.distributions import MultivariateNormal

from predictive.data.module import Batch, SequenceLoader, as_batch
from predictive.data.sequences import Segment, pad
from predictive.filtering import Gaussian
from predictive.gradients import (
    ENTROPIES,
    CompareEntropyGradients,
    compare_entropies,
    entropy_gradient_cosines,
    plug_in_entropy,
)
from predictive.objective import PredictiveObjective
from predictive.predictors import Forecast
from solo_ldm.run.gradient_rows import read_gradients
from solo_ldm.run.trainer import without_lightnings_advice
from tests.support.predictive.filtering_models import close
from tests.support.predictive.toy import random_data, tiny_method


class EncoderOfAnExactModel(torch.nn.Module):
    """z = W x of an AR(1) process x, whose exact prediction W A W⁻¹ z_{t−1} stands for a filter."""

    def __init__(self, a, noise):
        super().__init__()
        self.encoder = torch.nn.Linear(2, 2, bias=False).double()
        weight = torch.tensor([[1.0, 0.4], [-0.3, 0.8]], dtype=torch.float64)
        self.encoder.weight.data.copy_(weight)
        self.matrix = weight @ a.diag() @ weight.inverse()
        self.factor = torch.linalg.cholesky(weight @ weight.T) * noise
        self.objective = PredictiveObjective(first_step=1)

    def forecast(self, batch):
        z = self.encoder(batch.inputs)
        mean = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1] @ self.matrix.T], dim=1)
        factor = self.factor.expand(1, z.shape[1], 2, 2)
        return Forecast(z, Gaussian(mean, factor), z)


def exact_model_and_batch(samples=60, steps=30):
    a, noise = torch.tensor([0.9, 0.5], dtype=torch.float64), 0.3
    x = [noise / (1.0 - a.square()).sqrt() * torch.randn(samples, 2, dtype=torch.float64)]
    for _ in range(steps - 1):
        x.append(a * x[-1] + noise * torch.randn(samples, 2, dtype=torch.float64))
    known = torch.ones(samples, steps, dtype=torch.bool)
    return EncoderOfAnExactModel(a, noise), Batch(torch.stack(x, dim=1), known, False, {})


def test_with_the_exact_model_both_entropies_want_the_same_step():
    """All gradients tend to W⁻ᵀ, that of log |det W|."""
    cosines = entropy_gradient_cosines(*exact_model_and_batch())
    others = [f"{name}_{over}" for name in ("kernel", "logdet") for over in ("marginal", "joint")]
    assert [*cosines] == ["marginal", "joint", *others]
    assert all(cosine > 0.8 for cosine in cosines.values())


def test_all_pairs_are_compared_over_latents_and_encoder():
    found = compare_entropies(*exact_model_and_batch())
    assert found.keys() == {"latents", "encoder"}
    for values in found.values():
        assert values.shape == (len(ENTROPIES), len(ENTROPIES))
        torch.testing.assert_close(values, values.T)
        torch.testing.assert_close(values.diagonal(), torch.ones(len(ENTROPIES)).double())
    # A linear encoder averages over samples what the estimators do not agree about.
    assert found["encoder"].min() > 0.8 > found["latents"].min()


def test_all_estimators_see_the_same_samples(monkeypatch):
    method, batch, drawn = tiny_method(), as_batch(random_data([40] * 20)), []
    look = PredictiveObjective._rows

    def remember(self, *given):
        drawn.append(look(self, *given))
        return drawn[-1]

    monkeypatch.setattr(PredictiveObjective, "_rows", remember)
    compare_entropies(method, batch)
    assert len(drawn) == 6
    for estimator in range(3):
        for over in range(2):
            assert torch.equal(drawn[2 * estimator + over], drawn[over])
    assert not torch.equal(drawn[0], drawn[1])


def test_the_gradient_of_the_plug_in_entropy_of_the_exact_model_is_that_of_log_det():
    method, batch = exact_model_and_batch(samples=400)
    known = batch.known & (torch.arange(30) > 0)
    plug_in_entropy(method.forecast(batch), known).backward()
    close(method.encoder.weight.grad, method.encoder.weight.detach().inverse().T, atol=0.06)


def test_the_plug_in_entropy_is_differentiated_as_what_is_predicted_alone():
    z, mean = (torch.randn(3, 5, 2).requires_grad_() for _ in range(2))
    factor = torch.eye(2).repeat(1, 5, 1, 1).requires_grad_()
    known = torch.ones(3, 5, dtype=torch.bool)
    plug_in_entropy(Forecast(z, Gaussian(mean, factor), mean), known).backward()
    assert mean.grad is None
    assert factor.grad is None
    close(z.grad, (z - mean).detach() / 15.0, atol=1e-6)


def test_the_plug_in_entropy_is_minus_the_mean_log_density_of_known_bins():
    method, batch = tiny_method(), as_batch(random_data([9, 6, 12]))
    forecast = method.forecast(batch)
    mean, factor = forecast.predictions.mean, forecast.predictions.factor
    density = MultivariateNormal(mean, scale_tril=factor.expand(3, -1, -1, -1))
    expected = -density.log_prob(forecast.latents)[batch.known].mean()
    close(plug_in_entropy(forecast, batch.known), expected, atol=1e-5)


def test_the_plug_in_entropy_of_a_wrong_model_wants_another_step():
    method, batch = exact_model_and_batch()
    good = entropy_gradient_cosines(method, batch)["joint"]
    method.matrix = -4.0 * method.matrix
    bad = entropy_gradient_cosines(method, batch)["joint"]
    assert bad < good - 0.1


def trained(callback, **settings):
    torch.manual_seed(0)
    method = tiny_method("objective.entropy=neighbour", "objective.num_samples=30")
    torch.manual_seed(1)
    data = random_data([10] * 24)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=2,
        callbacks=[] if callback is None else [callback],
        **settings,
    )
    with without_lightnings_advice():
        trainer.fit(method, SequenceLoader(data, 4))
    return method.state_dict()


def test_a_run_is_the_same_with_and_without_comparisons(tmp_path):
    callback = CompareEntropyGradients(4, tmp_path / "gradients.csv")
    with_it, without = trained(callback), trained(None)
    for name, value in without.items():
        close(with_it[name], value, atol=0)
    assert [row["step"] for row in callback.rows] == [0.0, 4.0, 8.0]
    assert all(-1.0 <= row[over] <= 1.0 for row in callback.rows for over in ("marginal", "joint"))
    table = read_gradients(tmp_path / "gradients.csv")
    assert len(table) == 3 * 2 * 21  # steps, latents and encoder, pairs of seven
    pair = {"with_respect_to": "encoder", "first": "stop_gradient", "second": "neighbour joint"}
    found = [row["value"] for row in table if pair.items() <= row.items()]
    assert found == pytest.approx([row["joint"] for row in callback.rows], abs=1e-5)


def test_a_comparison_leaves_random_numbers_gradients_and_parameters_alone():
    method, batch = tiny_method(), as_batch(random_data([40] * 20))
    trainer = SimpleNamespace(global_step=0, is_global_zero=True)
    callback, state = CompareEntropyGradients(1), torch.get_rng_state()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    callback.on_train_batch_start(trainer, method, batch, 0)
    assert len(callback.rows) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in method.parameters())
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


def test_accumulated_batches_are_one_step_and_one_comparison():
    callback = CompareEntropyGradients(2)
    trained(callback, accumulate_grad_batches=3)
    assert [row["step"] for row in callback.rows] == [0.0, 2.0]


def test_a_comparison_gathers_in_all_processes_or_in_none(monkeypatch):
    """What one process gathers alone waits for the others for ever."""
    gathered = []
    monkeypatch.setattr("predictive.objective.gather", lambda z: gathered.append(z) or z)
    method, batch, counts = tiny_method(), as_batch(random_data([9] * 8)), []
    for first_of_them in (True, False):
        gathered.clear()
        trainer = SimpleNamespace(global_step=0, is_global_zero=first_of_them)
        CompareEntropyGradients(1).on_train_batch_start(trainer, method, batch, 0)
        counts.append(len(gathered))
    assert counts[0] == counts[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_comparison_on_a_gpu_leaves_its_random_numbers_alone():
    method, batch = tiny_method().cuda(), as_batch(random_data([40] * 20))
    batch = batch._replace(inputs=batch.inputs.cuda(), known=batch.known.cuda())
    trainer = SimpleNamespace(global_step=0, is_global_zero=True)
    state = torch.cuda.get_rng_state()
    CompareEntropyGradients(1).on_train_batch_start(trainer, method, batch, 0)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_comparisons_are_continued_with_a_run():
    first, second = CompareEntropyGradients(1), CompareEntropyGradients(1)
    first.rows.append({"step": 0.0, "marginal": 0.5, "joint": 0.7})
    second.load_state_dict(first.state_dict())
    assert second.rows == first.rows


def test_bins_without_an_input_take_no_part_in_a_comparison():
    method, data = tiny_method("objective.entropy=logdet"), random_data([30] * 10)
    batch = as_batch(data)
    longer = as_batch(pad([Segment(x) for x in data.inputs] + [Segment(torch.randn(60, 4))]))
    longer = longer._replace(
        inputs=longer.inputs[:10], known=longer.known[:10], targets=batch.targets
    )
    short, long = (entropy_gradient_cosines(method, b) for b in (batch, longer))
    for over, value in short.items():
        assert math.isclose(long[over], value, abs_tol=1e-4)
