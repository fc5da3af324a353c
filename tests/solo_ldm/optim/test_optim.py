"""Optimisers and schedules against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from solo_ldm.optim.optimizers import build_optimizer, step_decay, warmup_cosine


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
