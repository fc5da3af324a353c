"""Optimisers and schedules against their definitions."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from solo_ldm.optim.optimizers import (
    build_optimizer,
    check_optimizer,
    configured_optimizer,
    name_optimizer,
    step_decay,
    warmup_cosine,
)


def one_group(*parameters: nn.Parameter) -> list[dict]:
    return [{"name": "all", "params": list(parameters)}]


def test_lars_takes_the_published_step():
    """You et al. (arXiv 1708.03888), equation 6, in solo-learn's form with clipped rates."""
    weight = nn.Parameter(torch.randn(4, 3))
    before, lr, decay, eta = weight.detach().clone(), 0.3, 1e-4, 0.02
    optimizer = build_optimizer(
        "lars", one_group(weight), lr, decay, False, {"eta": eta, "clip_lr": True}
    )
    velocity = torch.zeros_like(before)
    for _ in range(3):
        gradient = torch.randn(4, 3)
        weight.grad = gradient.clone()
        optimizer.step()
        trust = eta * before.norm() / (gradient.norm() + decay * before.norm() + 1e-8)
        trust = min(trust / lr, 1.0)
        velocity = 0.9 * velocity + trust * (gradient + decay * before)
        before = before - lr * velocity
        torch.testing.assert_close(weight.detach(), before)


@pytest.mark.parametrize("name", ["lars", "sgd", "adam", "adamw"])
def test_bias_and_norm_do_not_decay(name):
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    groups = one_group(*module.parameters())
    optimizer = build_optimizer(name, groups, 0.1, 0.5, True, {})
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for parameter in module.parameters():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0)


def test_lars_leaves_bias_and_norm_to_plain_sgd():
    bias = nn.Parameter(torch.randn(5))
    before = bias.detach().clone()
    kwargs = {"eta": 0.02, "exclude_bias_n_norm": True}
    optimizer = build_optimizer("lars", one_group(bias), 0.1, 1e-2, False, kwargs)
    bias.grad = torch.ones(5)
    optimizer.step()
    torch.testing.assert_close(bias.detach(), before - 0.1)


def test_warmup_cosine_follows_its_equation():
    fast, slow = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [
        {"name": "fast", "params": [fast], "lr": 0.4},
        {"name": "slow", "params": [slow]},
        {"name": "fixed", "params": [nn.Parameter(torch.zeros(1))], "static_lr": True},
    ]
    optimizer = build_optimizer("sgd", groups, 0.1, 0.0, False, {})
    schedule = warmup_cosine(optimizer, 10, 50, warmup_start_lr=0.01, min_lr=0.002)
    for step in range(51):
        for group, base in zip(optimizer.param_groups[:2], (0.4, 0.1), strict=True):
            if step < 10:
                expected = 0.01 + (base - 0.01) * step / 10
            else:
                cosine = 0.5 * (1 + math.cos(math.pi * (step - 10) / 40))
                expected = 0.002 + (base - 0.002) * cosine
            assert group["lr"] == pytest.approx(expected)
        assert optimizer.param_groups[2]["lr"] == pytest.approx(0.1)
        optimizer.step()
        schedule.step()


def rates(schedule, steps):
    """The rate of the first group at each of some steps."""
    optimizer, found = schedule.optimizer, []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_schedule_stays_at_its_least_rate_beyond_its_end():
    """Steps that were not counted do not make it rise again."""
    optimizer = build_optimizer("sgd", one_group(nn.Parameter(torch.zeros(1))), 0.4, 0, False, {})
    found = rates(warmup_cosine(optimizer, 2, 6, warmup_start_lr=0.0, min_lr=0.004), 14)
    assert found[2] == 0.4
    assert found[6:] == pytest.approx([0.004] * 8)


@pytest.mark.parametrize("total", [0.5, 2, 2.5])
def test_a_schedule_without_room_for_a_cosine_falls_over_one_step(total):
    optimizer = build_optimizer("sgd", one_group(nn.Parameter(torch.zeros(1))), 0.4, 0, False, {})
    found = rates(warmup_cosine(optimizer, 2, total, warmup_start_lr=0.1, min_lr=0.004), 5)
    assert found == pytest.approx([0.1, 0.25, 0.4, 0.004, 0.004])


def test_a_schedule_without_warm_up_starts_at_its_rate():
    optimizer = build_optimizer("sgd", one_group(nn.Parameter(torch.zeros(1))), 0.4, 0, False, {})
    found = rates(warmup_cosine(optimizer, 0, 2, warmup_start_lr=0.1, min_lr=0.0), 3)
    assert found == pytest.approx([0.4, 0.2, 0.0])


def test_a_rate_of_zero_stays_zero():
    optimizer = build_optimizer("sgd", one_group(nn.Parameter(torch.zeros(1))), 0.0, 0, False, {})
    assert rates(warmup_cosine(optimizer, 2, 6, warmup_start_lr=0.1, min_lr=0.1), 8) == [0.0] * 8


def test_step_decay_multiplies_at_each_milestone():
    optimizer = build_optimizer("sgd", one_group(nn.Parameter(torch.zeros(1))), 1.0, 0, False, {})
    schedule = step_decay(optimizer, [2, 4])
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_unknown_settings_are_one_line():
    groups = one_group(nn.Parameter(torch.zeros(1)))
    with pytest.raises(ValueError, match=r"optimizer.name: expected lars, sgd, adam or adamw"):
        build_optimizer("rmsprop", groups, 0.1, 0, False, {})
    with pytest.raises(
        ValueError, match=r"unknown key optimizer.kwargs.moment: did you mean momentum"
    ):
        build_optimizer("sgd", groups, 0.1, 0, False, {"moment": 0.9})


class Module(SimpleNamespace):
    """A module with a trainer, or none, as Lightning's has before a run."""

    @property
    def trainer(self):
        if self.steps is None:
            raise RuntimeError
        return SimpleNamespace(estimated_stepping_batches=self.steps)


def configured(steps=None, scale=0.5, **changes):
    """What Lightning is given for two groups, of a module whose run has a number of steps."""
    cfg = OmegaConf.create(
        {
            "max_epochs": 8,
            "optimizer": {"name": "sgd", "weight_decay": 0.25, "kwargs": {"nesterov": True}},
            "scheduler": {
                "name": "warmup_cosine",
                "interval": "epoch",
                "warmup_epochs": 2,
                "warmup_start_lr": 0.1,
                "min_lr": 0.02,
                "lr_decay_steps": None,
            },
        }
    )
    cfg.merge_with_dotlist([f"{key}={value}" for key, value in changes.items()])
    module = Module(cfg=cfg, steps=steps)
    weight, bias = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    groups = [{"name": "all", "params": [weight, bias]}, {"name": "none", "params": []}]
    return configured_optimizer(module, groups, 0.4, *([] if scale is None else [scale]))


def test_a_configuration_gives_the_optimiser_and_the_schedule_of_its_epochs():
    (optimizer,), (entry,) = configured()
    (group,) = optimizer.param_groups
    assert (group["weight_decay"], group["momentum"], group["nesterov"]) == (0.25, 0.9, True)
    assert entry["interval"] == "epoch"
    found = rates(entry["scheduler"], 9)
    # Both ends of the schedule are scaled with the rate.
    assert found[:3] == pytest.approx([0.05, 0.225, 0.4])
    assert found[5] == pytest.approx(0.01 + 0.39 / 2)
    assert found[8] == pytest.approx(0.01)


def test_the_ends_of_a_schedule_are_as_configured_unless_scaled():
    (_,), (entry,) = configured(scale=None)
    found = rates(entry["scheduler"], 9)
    assert (found[0], found[8]) == (pytest.approx(0.1), pytest.approx(0.02))


def test_a_schedule_in_steps_has_those_of_an_epoch_for_each_epoch():
    (_,), (entry,) = configured(24, **{"scheduler.interval": "step"})
    assert entry["interval"] == "step"
    found = rates(entry["scheduler"], 25)
    assert found[3] == pytest.approx(0.225)
    assert found[6] == pytest.approx(0.4)
    assert found[15] == pytest.approx(0.01 + 0.39 / 2)
    assert found[24] == pytest.approx(0.01)


def test_without_a_trainer_a_schedule_in_steps_has_one_an_epoch():
    (_,), (entry,) = configured(None, **{"scheduler.interval": "step"})
    assert rates(entry["scheduler"], 3) == pytest.approx([0.05, 0.225, 0.4])


def test_other_schedules_are_none_and_one_of_milestones():
    assert isinstance(configured(**{"scheduler.name": "none"}), torch.optim.SGD)
    milestones = {"scheduler.name": "step", "scheduler.lr_decay_steps": "[1,3]"}
    (_,), (entry,) = configured(**milestones)
    assert entry["interval"] == "epoch"
    assert rates(entry["scheduler"], 4) == pytest.approx([0.4, 0.04, 0.04, 0.004])
    (_,), (entry,) = configured(**{"scheduler.name": "step"})
    assert rates(entry["scheduler"], 3) == pytest.approx([0.4] * 3)


def test_bias_and_norm_are_a_group_of_their_own_where_they_are_excluded():
    excluding = {"optimizer.exclude_bias_n_norm_wd": True, "scheduler.name": "none"}
    optimizer = configured(**excluding)
    named = [(one["name"], one["weight_decay"]) for one in optimizer.param_groups]
    assert named == [("all", 0.25), ("all-bias-norm", 0.0)]
    assert not optimizer.param_groups[1]["always_adapt"]
    assert len(configured(**{"scheduler.name": "none"}).param_groups) == 1


def test_arguments_are_translated_from_solo_learns_names():
    given = {"eta": 0.02, "clip_lr": True, "exclude_bias_n_norm": True, "momentum": 0.8}
    theirs = {"trust_coeff": 0.02, "trust_clip": True, "momentum": 0.8}
    assert check_optimizer("lars", given) == (theirs, True)
    assert given["exclude_bias_n_norm"]
    assert check_optimizer("lars", {"eta": 0.02}) == ({"trust_coeff": 0.02}, False)
    assert check_optimizer("sgd", {"momentum": 0.8}) == ({"momentum": 0.8}, False)
    lars = build_optimizer("lars", one_group(nn.Parameter(torch.zeros(2, 2))), 0.1, 0.0, False, {})
    defaults = {"momentum": 0.9, "trust_coeff": 1e-3, "always_adapt": True}
    assert defaults.items() <= lars.defaults.items()


def test_an_optimiser_is_told_by_the_settings_of_its_groups():
    for name, kwargs, told in (
        ("lars", {}, "lars"),
        ("sgd", {}, "sgd"),
        ("adam", {}, "adam"),
        ("adam", {"amsgrad": True}, "adam with amsgrad"),
        ("adamw", {}, "adamw"),
    ):
        groups = one_group(nn.Parameter(torch.zeros(2, 2)))
        optimizer = build_optimizer(name, groups, 0.1, 0.0, False, kwargs)
        assert name_optimizer(optimizer.param_groups[0]) == told
    assert name_optimizer({"rho": 0.9}) == "one of another kind"


def test_a_loaded_state_keeps_the_rates_and_settings_of_the_configuration():
    weight = nn.Parameter(torch.ones(2, 2))
    old = build_optimizer("sgd", one_group(weight), 0.1, 0.5, False, {"momentum": 0.5})
    weight.grad = torch.ones(2, 2)
    old.step()
    new = build_optimizer("sgd", one_group(weight), 0.4, 0.25, False, {"momentum": 0.9})
    new.load_state_dict(old.state_dict())
    (group,) = new.param_groups
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.4, 0.25, 0.9)
    assert torch.equal(new.state[weight]["momentum_buffer"], torch.full((2, 2), 1.5))


def test_a_schedule_is_placed_at_any_step_and_its_state_says_where_it_is():
    optimizer = build_optimizer("sgd", one_group(nn.Parameter(torch.zeros(1))), 0.4, 0, False, {})
    schedule = warmup_cosine(optimizer, 2, 6, warmup_start_lr=0.0, min_lr=0.0)
    schedule.place(4)
    assert (schedule.last_epoch, schedule.get_last_lr()) == (4, [pytest.approx(0.2)])
    assert rates(schedule, 3) == pytest.approx([0.2, 0.2 * (1 - math.sqrt(0.5)), 0.0])
    schedule.place(2)
    schedule.step()  # no step of the optimiser is missed, nor warned of
    schedule.load_state_dict({"last_epoch": 1, "base_lrs": [9.0], "_last_lr": [9.0]})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)
    schedule.load_state_dict({})
    assert optimizer.param_groups[0]["lr"] == 0.0
