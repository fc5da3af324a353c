"""The method: its encoder, online probes, missing inputs, rates, and scores."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from sklearn.metrics import r2_score

from predictive.data.module import SequenceLoader, as_batch
from predictive.data.sequences import Sequences
from predictive.decoding.online import DecoderConfig, OnlineDecoders
from predictive.encoder import Encoder
from predictive.method import PredictiveMethod
from predictive.networks import VarianceNetwork, mlp
from solo_ldm.run.trainer import without_lightnings_advice
from tests.support.predictive.filtering_models import close
from tests.support.predictive.toy import FEATURES, TARGETS, method_config, random_data, tiny_method

INPUT_NOISE = ["predictor.observation_noise=input", "predictor.process_noise=errors"]


def quiet_trainer(**settings):
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def without_logs(method, batch):
    """A training step, and what it would have logged."""
    logged = {}
    method.log_dict = lambda values, **_: logged.update(values)
    return method.training_step(batch, 0), logged


def gradients(module):
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


def test_a_new_variance_network_returns_the_variance_of_the_features():
    x = torch.randn(5, 7, 12)
    expected = x.var(dim=-1, correction=0)[..., None].expand(-1, -1, 2)
    close(VarianceNetwork(12, 2)(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Encoder(3, 2, transform="log"), "transform: expected none or sqrt, got 'log'"),
        (lambda: Encoder(3, 2, activation="swish"), "activation: expected relu, gelu, elu or tanh"),
        (lambda: Encoder(3, 0), "latent_dim: expected a whole number from 1, got 0"),
        (
            lambda: mlp(3, 4, 2, num_hidden_layers=-1),
            "num_hidden_layers: expected a whole number from 0",
        ),
    ],
)
def test_wrong_networks_are_one_line(build, words):
    with pytest.raises(ValueError, match=words) as error:
        build()
    assert "\n" not in str(error.value)


def test_nothing_flows_back_from_the_decoders():
    method, batch = tiny_method(*INPUT_NOISE), as_batch(random_data([9, 6, 12]))
    losses = method.decoders.losses(method.decoders(method.forecast(batch).variables()), batch)
    assert set(losses) == {"place", "rough", "inputs"}
    sum(losses.values()).backward()
    assert gradients(method.encoder) == [None] * len(gradients(method.encoder))
    assert gradients(method.predictor) == [None] * len(gradients(method.predictor))
    assert all(g.abs().max() > 0.0 for g in gradients(method.decoders))


def test_a_step_trains_the_method_as_if_there_were_no_decoders():
    method, batch = tiny_method(*INPUT_NOISE), as_batch(random_data([9, 6, 12]))
    result, logged = without_logs(method, batch)
    result["loss"].backward()
    stepped = [*gradients(method.encoder), *gradients(method.predictor)]
    method.zero_grad()
    terms = method.objective(method.forecast(batch), batch.known)
    terms.loss.backward()
    for a, b in zip(
        stepped, [*gradients(method.encoder), *gradients(method.predictor)], strict=True
    ):
        assert (a is None) == (b is None)
        if a is not None:
            close(a, b, atol=1e-6)
    assert gradients(method.decoders) == [None] * len(gradients(method.decoders))
    close(logged["train_ldm_loss"], terms.loss.detach(), atol=1e-5)
    close(logged["train_log_prob"], terms.log_prob.detach(), atol=1e-5)
    assert not any(value.requires_grad for value in logged.values())


def test_decoder_losses_are_mean_squares_over_known_targets():
    method, batch = tiny_method(), as_batch(random_data([9, 6, 12]))
    estimates = method.decoders(method.forecast(batch).variables())
    losses = method.decoders.losses(estimates, batch)
    known = batch.targets["place"].isfinite()
    assert 0 < known.sum() < known.numel()
    error = (estimates["place"] - batch.targets["place"])[known]
    close(losses["place"], error.square().mean(), atol=1e-5)
    reconstruction = (estimates["inputs"] - batch.inputs)[batch.known]
    close(losses["inputs"], reconstruction.square().mean(), atol=1e-5)
    sum(losses.values()).backward()
    assert all(g.isfinite().all() for g in gradients(method.decoders))


def test_a_batch_without_any_known_target_costs_nothing():
    method, data = tiny_method(), random_data([9, 6])
    batch = as_batch(data)
    unknown = {name: torch.full_like(v, torch.nan) for name, v in batch.targets.items()}
    batch = batch._replace(targets=unknown)
    losses = method.decoders.losses(method.decoders(method.forecast(batch).variables()), batch)
    assert losses["place"] == 0.0
    assert losses["rough"] == 0.0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"source": "state"}, "decoders.x.source: expected latents, states"),
        ({"source": "process_noise"}, r"source: expected one of this predictor\'s \(latents\)"),
        (
            {"source": "latents", "target": "place"},
            r"decoders.x.target: expected .* data\'s \(speed\), got place",
        ),
        ({"source": "latents"}, r"decoders.x.target: expected .* data\'s \(speed\), got x"),
        ({"source": "latents", "target": "speed", "kind": "rnn"}, "kind: expected linear or mlp"),
    ],
)
def test_wrong_decoders_are_one_line(config, words):
    with pytest.raises(ValueError, match=words) as error:
        OnlineDecoders({"x": DecoderConfig(**config)}, {"latents": 2}, {"speed": 1})
    assert "\n" not in str(error.value)


def pooled_r2(y, guess):
    """R² over the known bins of each dimension, pooled by their variance; and scikit-learn's."""
    residual = spread = 0.0
    for k in range(y.shape[2]):
        known = y[..., k].isfinite()
        true, found = y[..., k][known].double(), guess[..., k][known].double()
        residual += (true - found).square().sum()
        spread += (true - true.mean()).square().sum()
    known = y.isfinite().any(dim=2)
    if not y[known].isfinite().all():
        return float(1.0 - residual / spread), None
    theirs = r2_score(y[known], guess[known], multioutput="variance_weighted")
    return float(1.0 - residual / spread), theirs


@pytest.mark.parametrize("batch_size", [64, 9])
def test_validation_r2_is_that_of_all_held_out_bins_whatever_the_batches(batch_size):
    method, data = tiny_method(), random_data([3 + i % 7 for i in range(70)])
    with without_lightnings_advice():
        loader = SequenceLoader(data, batch_size)
        (scores,) = quiet_trainer().validate(method, loader, verbose=False)
    batch = as_batch(data)
    estimates = method.decoders(method.forecast(batch).variables())
    for name, guess in estimates.items():
        expected, theirs = pooled_r2(method.decoders.target(name, batch), guess.detach())
        assert scores[f"val_{name}_r2"] == pytest.approx(expected, abs=1e-5)
        assert (theirs is None) == (name == "place")
        if theirs is not None:
            assert scores[f"val_{name}_r2"] == pytest.approx(theirs, abs=1e-4)


def test_a_validation_remembers_nothing_of_the_one_before():
    method, trainer = tiny_method(), quiet_trainer()
    first, second = (SequenceLoader(random_data(lengths), 64) for lengths in ([5, 9], [12]))
    with without_lightnings_advice():
        (expected,) = trainer.validate(method, second, verbose=False)
        (other,) = trainer.validate(method, first, verbose=False)
        (again,) = trainer.validate(method, second, verbose=False)
    assert again == expected
    assert other != expected


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("figure8", []),
        ("figure8", INPUT_NOISE),
        ("figure8", ["predictor.observation_noise=state"]),
        ("nonlinear_system", []),
        ("nonlinear_system", ["predictor.variance=input_variance"]),
    ],
)
def test_the_forecast_ignores_what_stands_in_bins_with_missing_inputs(name, overrides):
    method, data = tiny_method(*overrides, name=name), random_data([8, 8, 5])
    found = []
    for _ in range(2):
        inputs = data.inputs.clone()
        inputs[0, 2] = torch.randn(FEATURES)
        inputs[1, 5] = 100.0 * torch.randn(FEATURES)
        inputs[0, 2, 0] = inputs[1, 5, 1] = torch.nan
        batch = as_batch(Sequences(inputs, data.lengths, data.targets, data.start_seconds))
        method.zero_grad()
        forecast = method.forecast(batch)
        terms = method.objective(forecast, batch.known)
        terms.loss.backward()
        predictions = forecast.predictions
        found.append(
            [
                terms.loss,
                forecast.states,
                predictions.mean,
                predictions.variance.expand_as(forecast.latents)[batch.known],
                *[p.grad for p in method.parameters() if p.grad is not None],
            ]
        )
    for a, b in zip(*found, strict=True):
        assert a.isfinite().all()
        close(a, b, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw", "lars"])
@pytest.mark.parametrize(
    ("name", "overrides"), [("figure8", INPUT_NOISE), ("nonlinear_system", [])]
)
def test_each_part_learns_at_its_own_rate_and_the_filter_without_decay(name, overrides, optimizer):
    method = tiny_method(
        *overrides,
        f"optimizer.name={optimizer}",
        "optimizer.lr=0.01",
        "optimizer.weight_decay=0.1",
        "optimizer.multipliers.encoder=2.0",
        "scheduler.name=none",
        name=name,
    )
    built = method.configure_optimizers()
    groups = (built["optimizer"] if isinstance(built, dict) else built).param_groups
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates["encoder"] == pytest.approx(0.02)
    if name == "figure8":
        assert rates["filter"] == pytest.approx(1.0)
        assert rates["observation_noise"] == pytest.approx(0.01)
        assert rates["process_noise"] == pytest.approx(0.1)
        assert rates["decoder-inputs"] == pytest.approx(0.5)
    for group in groups:
        assert group["weight_decay"] == (0.0 if group["name"] == "filter" else 0.1)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize("override", ["optimizer.multipliers.encoders=2.0"])
def test_a_misspelt_part_among_the_multipliers_is_one_line(override):
    with pytest.raises(ValueError, match="encoder") as error:
        method_config(f"+{override}")
    assert "\n" not in str(error.value)


def test_the_state_of_a_method_is_all_it_needs():
    cfg = method_config(*INPUT_NOISE)
    first, second = (PredictiveMethod(cfg, FEATURES, TARGETS) for _ in range(2))
    observed = 5.0 * torch.randn(1, 30, FEATURES) + 2.0
    first.encoder.fit_scale(observed, torch.ones(1, 30, dtype=torch.bool))
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 6, FEATURES)
    close(first(x).predictions.mean, second(x).predictions.mean, atol=0)
    close(first(x).predictions.covariance, second(x).predictions.covariance, atol=0)


def test_what_an_entropy_learns_is_learned():
    method = tiny_method("objective.entropy=logistic", "scheduler.name=none")
    (groups,) = (one.param_groups for one in [method.configure_optimizers()])
    learned = [id(one) for group in groups for one in group["params"]]
    assert sorted(learned) == sorted(id(one) for one in method.parameters() if one.requires_grad)
