"""Baselines on lightly's losses and heads: what they compute and what learns."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightly import loss as losses

from solo_ldm.methods import find_method
from solo_ldm.methods.lightly.method import LightlyMethod
from solo_ldm.methods.lightly.recipes import RECIPES
from tests.support.methods.lightly import AVERAGED, batch, build, toy, train, unit


@pytest.mark.parametrize("name", RECIPES)
def test_steps_lower_the_loss_of_a_batch(name):
    # No epochs pass here: nothing is to be held still in the first. A covariance that starts from
    # zero, or a queue of the batch's own images, makes the loss harder meanwhile.
    kwargs: dict[str, dict[str, Any]] = {
        "swav": {"freeze_prototypes_epochs": 0},
        "dino": {"freeze_last_layer": 0},
        "tico": {"rho": 0.0},
    }
    method = build(name, **kwargs.get(name, {}))
    if name == "moco":
        method.parts.criterion.memory_bank._dequeue_and_enqueue = lambda batch: None
    found = train(method, 12, batch())
    assert all(map(math.isfinite, found))
    assert sum(found[-3:]) < sum(found[:3])


@pytest.mark.parametrize("name", RECIPES)
def test_gradients_reach_all_that_learns_and_nothing_else(name):
    method = build(name)
    method.training_step(batch(), 0)["loss"].backward()
    grouped = []
    for group in method.learnable_params:
        params = list(group["params"])
        grouped += map(id, params)
        assert all(p.grad is not None for p in params), group["name"]
        assert any(p.grad.abs().max() > 1e-8 for p in params), group["name"]
    learned = [id(p) for p in method.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(learned)
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)
    if method.average is not None:
        assert not any(p.requires_grad for p in method.average.parameters())


@pytest.mark.parametrize("name", AVERAGED)
def test_the_moving_average_starts_at_the_network_and_follows_the_cosine(name):
    method = build(name, base_tau=0.9, final_tau=1.0)
    networks = {"backbone": method.backbone, "projector": method.parts.projector}
    before = {}
    for key, network in networks.items():
        for (path, own), copied in zip(
            network.named_parameters(), method.average[key].parameters(), strict=True
        ):
            assert torch.equal(own, copied)
            assert own is not copied
            before[key, path] = copied.clone()
            own.data.add_(torch.randn_like(own))
    method.move_average(25, 101)
    tau = 1.0 - (1.0 - 0.9) * (math.cos(math.pi * 25 / 100) + 1) / 2
    for key, network in networks.items():
        for (path, own), copied in zip(
            network.named_parameters(), method.average[key].parameters(), strict=True
        ):
            torch.testing.assert_close(copied, tau * before[key, path] + (1 - tau) * own)


def lightlys_own(name: str, z: list, p: list, t: list, method: LightlyMethod) -> torch.Tensor:
    """Return the loss as lightly's examples write it, with lightly's classes alone.

    z are projections, p predictions, t the moving average's projections.
    """
    bank = (64, 8)
    if name == "simclr":
        return losses.NTXentLoss(0.3)(z[0], z[1])
    if name == "dcl":
        return losses.DCLLoss(0.3)(z[0], z[1])
    if name == "dclw":
        return losses.DCLWLoss(0.3, 0.7)(z[0], z[1])
    if name == "macl":
        return losses.MACLLoss(0.3, 0.4, 0.1)(z[0], z[1])
    if name == "directclr":
        return losses.DirectCLRLoss(8, 0.3)(z[0], z[1])
    if name == "moco":
        criterion = losses.NTXentLoss(0.3, bank)
        criterion.memory_bank.bank = method.parts.criterion.memory_bank.bank.clone()
        return criterion(z[0], t[1])
    if name == "nnclr":
        queue = method.parts.memory.bank
        near = [queue[(unit(one) @ unit(queue).T).argmax(dim=1)] for one in z]
        criterion = losses.NTXentLoss(0.3)
        # The second look-up comes before the second view is kept.
        return 0.5 * (criterion(near[0], p[1]) + criterion(near[1], p[0]))
    if name == "byol":
        criterion = losses.NegativeCosineSimilarity()
        return 0.5 * (criterion(p[0], t[1]) + criterion(p[1], t[0]))
    if name == "simsiam":
        criterion = losses.NegativeCosineSimilarity()
        return 0.5 * (criterion(z[0].detach(), p[1]) + criterion(z[1].detach(), p[0]))
    if name == "barlow_twins":
        return losses.BarlowTwinsLoss(0.02)(z[0], z[1])
    if name == "vicreg":
        return losses.VICRegLoss(10.0, 20.0, 2.0)(z[0], z[1])
    if name == "tico":
        return losses.TiCoLoss(0.8, 10.0)(z[0], t[1])
    if name == "wmse":
        torch.manual_seed(1)
        return losses.WMSELoss(8, w_size=16, w_iter=2, eps=0.1)(torch.cat(z))
    if name == "frossl":
        return losses.FroSSLLoss(2.0)(z)
    if name == "mmcr":
        return losses.MMCRLoss(0.1)(unit(torch.stack(z, 1)), unit(torch.stack(t, 1)))
    if name == "swav":
        return losses.SwaVLoss(0.3, 2, 0.2)([method.parts.prototypes(unit(one)) for one in z], [])
    if name == "dino":
        criterion = losses.DINOLoss(12, 0.05, 0.07, 5, 0.2, 0.8)
        return criterion(t, z, epoch=0)
    torch.manual_seed(1)
    both = {"local_proj": torch.stack(z), "global_proj": torch.stack(z)}
    if name == "lejepa":
        return losses.LeJEPALoss(0.1, sigreg_num_vectors=16)(**both)
    assert name == "visreg"
    return losses.VISRegLoss(0.5, 16, 2.0, 3.0, 0.5)(**both)


CHANGED: dict[str, dict[str, Any]] = {
    "simclr": {"temperature": 0.3},
    "dcl": {"temperature": 0.3},
    "dclw": {"temperature": 0.3, "sigma": 0.7},
    "macl": {"temperature": 0.3, "alpha": 0.4, "A_0": 0.1},
    "directclr": {"temperature": 0.3},
    "moco": {"temperature": 0.3},
    "nnclr": {"temperature": 0.3},
    "byol": {},
    "simsiam": {},
    "barlow_twins": {"lamb": 0.02},
    "vicreg": {"sim_loss_weight": 10.0, "var_loss_weight": 20.0, "cov_loss_weight": 2.0},
    "tico": {"beta": 0.8, "rho": 10.0},
    "wmse": {"whitening_size": 16, "whitening_iters": 2, "whitening_eps": 0.1},
    "frossl": {"invariance_weight": 2.0},
    "mmcr": {"lmda": 0.1},
    "lejepa": {"lambda_param": 0.1},
    "visreg": {
        "lambda_param": 0.5,
        "lambda_scale": 2.0,
        "lambda_shape": 3.0,
        "lambda_center": 0.5,
    },
    "swav": {"temperature": 0.3, "sk_iters": 2, "sk_epsilon": 0.2},
    "dino": {
        "warmup_teacher_temperature": 0.05,
        "teacher_temperature": 0.07,
        "warmup_teacher_temperature_epochs": 5,
        "student_temperature": 0.2,
        "center_momentum": 0.8,
    },
}


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_is_what_lightlys_class_returns(name):
    method = build(name, **CHANGED[name])
    if method.average is not None:
        for parameter in method.average.parameters():
            parameter.data.mul_(1.1)
    data = batch()
    feats = [method(crop)["feats"] for crop in data[1]]
    z = [method.parts.projector(one) for one in feats]
    p = [method.parts.predict(one) for one in z]
    t = []
    if method.average is not None:
        t = [method.average["projector"](method.average["backbone"](crop)) for crop in data[1]]
    if name == "swav":
        method.parts.prototypes.normalize()
    expected = lightlys_own(name, z, p, t, method).reshape(())
    weights = next(method.backbone.parameters())
    (theirs,) = torch.autograd.grad(expected, weights)
    torch.manual_seed(1)
    out = method.training_step(data, 0)
    torch.testing.assert_close(out["terms"]["train_ssl_loss"], expected.detach())
    (ours,) = torch.autograd.grad(out["loss"], weights)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_all_that_a_step_leaves_for_the_next_is_in_the_state(name):
    kwargs = {"queue_size": 64, "epoch_queue_starts": 0} if name == "swav" else {}
    first, data = build(name, **kwargs), batch()
    train(first, 3, data)
    second = build(name, **kwargs)
    assert not torch.equal(next(first.backbone.parameters()), next(second.backbone.parameters()))
    shapes = {key: value.shape for key, value in second.state_dict().items()}
    assert shapes == {key: value.shape for key, value in first.state_dict().items()}
    second.load_state_dict(first.state_dict())
    for method in (first, second):
        torch.manual_seed(2)
        method.losses = train(method, 3, data, first=3)
    assert first.losses == second.losses


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_computed_in_float32_under_mixed_precision(name):
    method = build(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = method.training_step(batch(), 0)
    assert out["loss"].dtype == torch.float32
    assert out["loss"].isfinite()


@pytest.mark.parametrize("name", RECIPES)
def test_latents_of_health_have_unit_length_where_directions_are_compared(name):
    method = build(name)
    description = method.describe(method.cfg)
    for z in method.training_step(batch(), 0)["z"]:
        assert not z.requires_grad
        lengths = z.norm(dim=1)
        assert torch.allclose(lengths, torch.ones(32), atol=1e-5) == description.on_sphere


def test_a_description_holds_all_settings_and_lightlys_version():
    cfg = toy("moco", temperature=None, queue_size=128)
    description = find_method("lightly/moco").describe(cfg)
    assert description.headline == "lightly's NTXentLoss"
    assert description.terms == ("train_ssl_loss",)
    assert set(description.axes.values()) == {None}
    assert description.settings["temperature"] == RECIPES["moco"].settings["temperature"]
    assert description.settings["queue_size"] == 128
    assert description.settings["lightly"].count(".") == 2
