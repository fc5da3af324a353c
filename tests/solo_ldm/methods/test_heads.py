"""Projectors, predictors and targets: their shapes, and who learns from whom."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods.averaging import MovingAverage
from solo_ldm.methods.ldm.body import LDM
from solo_ldm.methods.ldm.heads import perceptron
from solo_ldm.run.trainer import without_lightnings_advice
from tests.support.methods.configurations import method_config
from tests.support.toy import toy_config


def batch(size: int = 12):
    generator = torch.Generator().manual_seed(0)
    crops = [torch.randn(size, 3, 16, 16, generator=generator) for _ in range(2)]
    return [torch.arange(size), crops, torch.arange(size) % 10]


def step(method: LDM) -> torch.Tensor:
    method.log_dict = lambda *args, **kwargs: None  # pyright: ignore[reportAttributeAccessIssue]
    return method.training_step(batch(), 0)["loss"]


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        ({"num_layers": 1}, "Linear"),
        ({}, "Linear ReLU Linear"),
        ({"num_layers": 3, "batch_norm": True}, "Linear BatchNorm1d ReLU " * 2 + "Linear"),
        ({"output_batch_norm": True}, "Linear ReLU Linear BatchNorm1d"),
    ],
)
def test_a_perceptron_has_the_layers_it_is_asked_for(arguments, kinds):
    network = perceptron(5, 7, 3, **arguments)
    assert [type(layer).__name__ for layer in network] == kinds.split()
    assert network(torch.randn(4, 5)).shape == (4, 3)
    hidden = [one for one in network[:-1] if isinstance(one, nn.BatchNorm1d)]
    assert all(one.affine for one in hidden)
    assert not getattr(network[-1], "affine", False)


def test_a_perceptron_without_layers_is_refused():
    with pytest.raises(ValueError, match="num_layers: expected a whole number from 1"):
        perceptron(5, 7, 3, num_layers=0)


def test_a_perceptron_of_an_absurd_size_is_refused():
    with pytest.raises(ValueError, match="expected"):
        perceptron(10**6, 10**7, 3)


def test_the_moving_average_is_one_and_its_schedule_is_byols():
    network = nn.Linear(3, 2)
    average = MovingAverage({"net": network}, first=0.9, last=1.0)
    before = average.get_submodule("net").weight.clone()
    with torch.no_grad():
        network.weight += 1.0
    average.update({"net": network}, progress=0.5)
    tau = 1.0 - 0.1 * 0.5  # 1 − (1 − τ₀) (cos(π / 2) + 1) / 2
    expected = tau * before + (1.0 - tau) * network.weight
    torch.testing.assert_close(average.get_submodule("net").weight, expected)
    assert [round(average.tau(p), 12) for p in (0.0, 1.0)] == [0.9, 1.0]


@pytest.mark.parametrize("tau", [-0.1, 1.1])
def test_a_share_outside_zero_and_one_is_refused(tau):
    with pytest.raises(ValueError, match="first: expected a number from 0 to 1"):
        MovingAverage({"net": nn.Linear(2, 2)}, first=tau, last=1.0)


def test_no_gradient_reaches_the_moving_average(tmp_path):
    method = LDM(method_config(tmp_path, "byol"))
    step(method).backward()
    assert method.target is not None
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    for part in (method.backbone, method.projector, method.predictor):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_the_moving_average_is_in_no_parameter_group(tmp_path):
    method = LDM(method_config(tmp_path, "byol"))
    grouped = {id(p) for group in method.learnable_params for p in group["params"]}
    assert grouped == {id(p) for p in method.parameters() if p.requires_grad}


def test_a_detached_target_gives_gradients_to_the_prediction_alone(tmp_path):
    """Without predictor the two directions have the same value and half the gradient each."""
    kwargs = {"predictor": "none", "entropy": "kernel", "proj_batch_norm": False}
    same = LDM(
        method_config(tmp_path, "simsiam", target="same", entropy_weight=0.0, **kwargs)
    ).eval()
    detached = LDM(
        method_config(tmp_path, "simsiam", target="detached", entropy_weight=0.0, **kwargs)
    )
    detached.load_state_dict(same.state_dict())
    detached.eval()
    for method in (same, detached):
        step(method).backward()
    for one, other in zip(
        same.projector.parameters(), detached.projector.parameters(), strict=True
    ):
        torch.testing.assert_close(one.grad, 2.0 * other.grad, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_training_moves_the_average_once_a_step_of_the_optimiser_towards_the_network(
    tmp_path, accumulate
):
    """After step t of T: θ̄ ← τ(t/T) θ̄ + (1 − τ(t/T)) θ, however many batches a step has."""
    from torch.utils.data import DataLoader

    seed_everything(0, verbose=False)
    cfg = method_config(tmp_path, "byol", base_tau=0.5)
    cfg.max_epochs = 1
    method = LDM(cfg)
    assert method.target is not None
    expected = {key: value.clone() for key, value in method.backbone.named_parameters()}
    update, places = method.target.update, []

    def follow(networks, progress):
        tau = method.target.tau(progress)
        places.append(progress)
        for name, weight in method.backbone.named_parameters():
            assert (weight != expected[name]).any()
            expected[name] = (tau * expected[name] + (1.0 - tau) * weight).detach()
        update(networks, progress)

    method.target.update = follow
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with without_lightnings_advice():
        trainer.fit(method, DataLoader([batch()] * 2 * accumulate, batch_size=None))
    assert places == [0.5, 1.0]
    for name, weight in expected.items():
        torch.testing.assert_close(
            method.target.get_submodule("backbone").get_parameter(name), weight
        )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"entropy": "none"}, "nothing against collapse"),
        (
            {"target": "average"},
            "target: expected same, detached or moving_average, got .*did you mean moving_average",
        ),
        ({"predictor": "deep"}, "predictor: expected none, linear, mlp or direct"),
        ({"latent": "torus"}, "latent: expected plane, sphere, mean_direction, correlated"),
        ({"latent": None}, "missing key method_kwargs.latent"),
        (
            {"entropy": "logdet", "similar_share": 0.1},
            "similar_share: expected null for entropy=logdet, which does not read it, got 0.1",
        ),
    ],
)
def test_choices_that_do_not_exist_are_one_line(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message) as caught:
        LDM(method_config(tmp_path, "ldm", **kwargs))
    assert "\n" not in str(caught.value)


def test_one_view_of_an_image_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="two views of an image or more for method=ldm, got 1"):
        pretrain(toy_config(tmp_path, "augmentations.0.num_crops=1", name="simclr"))
    assert not any(tmp_path.iterdir())


def test_solo_learns_place_of_the_moving_average_is_refused_rather_than_ignored(tmp_path):
    cfg = method_config(tmp_path, "byol")
    cfg.momentum = {"base_tau": 0.9}
    with pytest.raises(ValueError, match=r"set method_kwargs\.target=moving_average"):
        LDM(cfg)


def test_a_method_of_one_latent_model_refuses_another(tmp_path):
    from solo_ldm.methods.ldm.body import GaussProb

    with pytest.raises(
        ValueError, match="expected plane for this method, got sphere; set method=ldm"
    ):
        GaussProb(method_config(tmp_path, "gaussprob", latent="sphere"))
