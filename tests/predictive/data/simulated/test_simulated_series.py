"""Simulated videos of a dot: what is on the frames, how the dot moves, and how it is repeated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.transform import swirl

from predictive.data.simulated import frames as frames_module
from predictive.data.simulated.frames import noisy, renderer, swirl_matrix
from predictive.data.simulated.moving_dot import moving_dot
from predictive.data.simulated.nonlinear_system import nonlinear_system
from predictive.data.simulated.ornstein_uhlenbeck import ornstein_uhlenbeck
from predictive.data.simulated.place_cells import place_cells
from predictive.data.simulated.simulation import random_streams
from tests.support.predictive.series import angles

SMALL = {"num_train": 6, "num_held_out": 3, "num_steps": 20}
BUILDERS = {
    "figure8": (moving_dot, {**SMALL, "random_phase": True}),
    "circular": (
        moving_dot,
        {**SMALL, "motion": "circular", "jump_rate": 0.2, "process_noise": 0.1},
    ),
    "square": (moving_dot, {**SMALL, "motion": "square", "observation_noise_kind": "random"}),
    "random_network": (moving_dot, {**SMALL, "rendering": "random_network"}),
    "nonlinear": (nonlinear_system, {**SMALL, "observation_noise": 0.1}),
    "linear": (ornstein_uhlenbeck, SMALL),
    "mixed": (ornstein_uhlenbeck, {**SMALL, "mixing": "random_network"}),
    "place_cells": (place_cells, {"duration_seconds": 120.0}),
}


def build(name, **settings):
    builder, small = BUILDERS[name]
    return builder(**{**small, **settings})


def tensors(sequences):
    return [sequences.inputs, sequences.lengths, sequences.start_seconds, *_values(sequences)]


def _values(sequences):
    return [sequences.targets[name] for name in sorted(sequences.targets)]


def wrapped(angle):
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def same(a, b):
    return torch.equal(a.nan_to_num(-9.0), b.nan_to_num(-9.0))


@pytest.mark.parametrize("name", BUILDERS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_other_data(name):
    state = torch.get_rng_state()
    first, again, other = build(name, seed=3), build(name, seed=3), build(name, seed=4)
    for part in ("train", "held_out"):
        pairs = zip(tensors(getattr(first, part)), tensors(getattr(again, part)), strict=True)
        assert all(same(a, b) for a, b in pairs)
    assert not same(first.held_out.inputs[:2, :20], other.held_out.inputs[:2, :20])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", BUILDERS)
def test_data_are_float32_with_a_unit_for_every_target_and_finite_inputs(name):
    data = build(name)
    for part in (data.train, data.held_out):
        assert part.inputs.dtype == torch.float32
        assert part.inputs.isfinite().all()
        assert set(part.targets) == set(data.units)
        assert all(v.dtype == torch.float32 and v.ndim == 3 for v in _values(part))
        assert part.lengths.max() == part.inputs.shape[1]


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "place_cells"])
def test_held_out_data_differ_from_what_is_trained_on_and_do_not_depend_on_its_amount(name):
    data, more = build(name), build(name, num_train=9)
    assert not torch.equal(data.train.inputs[:3], data.held_out.inputs)
    assert torch.equal(data.held_out.inputs, more.held_out.inputs)


@pytest.mark.parametrize(("size", "strength", "radius"), [(10, 10, 200), (15, 10, 200), (6, 3, 20)])
def test_the_swirl_is_that_of_scikit_image(size, strength, radius):
    image = np.random.default_rng(0).random((size, size))
    ours = swirl_matrix(size, strength, radius).numpy() @ image.ravel()
    theirs = swirl(image, rotation=0, strength=strength, radius=radius)
    np.testing.assert_allclose(ours.reshape(size, size), theirs, atol=1e-12)


def test_the_dot_lies_at_the_scaled_position_with_rows_for_x_and_stays_within_the_frame():
    render = renderer("plain", 10, random_streams(0, 1)[0])
    positions = torch.tensor([[0.0, 0.0], [0.6, -1.2], [9.0, -9.0]])
    images = render(positions).reshape(3, 10, 10)
    for image, (row, column) in zip(images, [(5, 5), (6, 3), (9, 0)], strict=True):
        assert image[row, column] == image.max()
        assert image[row, column].item() == pytest.approx(1.0, abs=1e-6)
    # Two pixels down and one across: e^(−(4 + 1) / 2).
    assert images[0, 7, 6].item() == pytest.approx(math.exp(-2.5), rel=1e-5)


def test_half_flip_mirrors_y_on_the_right_half_alone():
    flip, plain = (renderer(r, 8, random_streams(0, 1)[0]) for r in ("half_flip", "plain"))
    for x, sign in ((0.5, -1.0), (-0.5, 1.0)):
        expected = plain(torch.tensor([x, sign * 0.7]))
        assert torch.equal(flip(torch.tensor([x, 0.7])), expected)


def test_a_random_network_keeps_apart_what_lies_apart_and_is_shared_with_the_held_out_data():
    network = renderer("random_network", 10, random_streams(0, 1)[0])
    side = torch.linspace(-1.5, 1.5, 13)
    positions = torch.cartesian_prod(side, side)
    outputs = network(positions)
    assert outputs.shape == (169, 100)
    ratio = torch.pdist(outputs) / torch.pdist(positions)
    # Four leaky layers keep at least 0.01⁴ of a distance; what is met in practice is far more.
    assert ratio.min() > 1e-4
    data = build("random_network", observation_noise=0.0, random_phase=False)
    assert torch.equal(data.train.inputs[0], data.held_out.inputs[0])


def test_rendering_in_parts_changes_no_frame(monkeypatch):
    states = torch.randn(7, 5, 2)
    render = renderer("swirl", 6, random_streams(0, 1)[0])
    generator = random_streams(0, 1)[0]
    whole = noisy(render, states, 0.0, generator)
    monkeypatch.setattr(frames_module, "_CHUNK_VALUES", 2 * 5 * 36)
    torch.testing.assert_close(noisy(render, states, 0.0, generator), whole)


@pytest.mark.parametrize("kind", ["constant", "random", "state"])
def test_pixel_noise_has_the_variance_that_the_target_names(kind):
    settings = {"num_train": 150, "num_held_out": 1, "observation_noise_kind": kind}
    noisy_data = moving_dot(observation_noise=0.2, **settings).train
    clean = moving_dot(observation_noise=0.0, **settings).train
    variance = noisy_data.targets["noise_variance"]
    square = (noisy_data.inputs - clean.inputs).square().mean(dim=-1, keepdim=True)
    assert (square[variance < 1e-12] < 1e-6).all()
    for low, high in ((1e-12, 0.1), (0.1, 0.19), (0.19, 9.0)):
        chosen = (variance >= low) & (variance < high)
        if chosen.sum() > 500:
            # 500 frames of 100 pixels know their variance to 0.6 %.
            ratio = square[chosen].sum() / variance[chosen].sum()
            assert ratio.item() == pytest.approx(1.0, abs=0.03)


def test_noise_levels_are_those_of_their_kind():
    def level(kind):
        data = moving_dot(observation_noise=0.2, observation_noise_kind=kind, num_train=200)
        return data.train.targets["noise_variance"], data.train.targets["position"]

    assert (level("constant")[0] == 0.2).all()
    random = level("random")[0]
    # Of a unit exponential E max(0, X − 0.3) = e^(−0.3) and P(X < 0.3) = 1 − e^(−0.3).
    assert random.mean().item() == pytest.approx(0.2 * math.exp(-0.3), rel=0.04)
    assert (random == 0).float().mean().item() == pytest.approx(1 - math.exp(-0.3), abs=0.015)
    state, position = level("state")
    torch.testing.assert_close(state, 0.2 * (position[..., :1] + 1) / 2)


def test_the_figure_8_is_the_equation_and_takes_two_periods():
    position = build("figure8", random_phase=False, period_seconds=0.5).train.targets["position"]
    theta = math.pi * torch.arange(20, dtype=torch.float64) * 0.1 / 0.5
    expected = torch.stack([theta.cos(), theta.sin() * theta.cos()], dim=-1)
    torch.testing.assert_close(position, expected.float().expand(6, -1, -1))
    torch.testing.assert_close(position[:, 10:], position[:, :10])


def test_a_circling_dot_stays_on_the_unit_circle_and_turns_evenly_without_noise():
    position = build("circular").train.targets["position"]
    assert (position.norm(dim=-1) - 1).abs().max() < 1e-6
    even = build("circular", jump_rate=0.0, process_noise=0.0).train
    assert "jump" not in even.targets
    turn = wrapped(angles(even.targets["position"]).diff(dim=1))
    torch.testing.assert_close(turn, torch.full_like(turn, 0.1 * math.pi), atol=1e-6, rtol=0)


def test_jumps_turn_the_dot_by_135_degrees_at_the_given_rate_and_are_marked():
    data = build("circular", process_noise=0.0, num_train=500).train
    turn = wrapped(angles(data.targets["position"]).diff(dim=1) - 0.1 * math.pi)
    jump = data.targets["jump"][..., 0]
    assert (jump[:, 0] == 0).all()
    expected = jump[:, 1:].double() * math.radians(135.0)
    torch.testing.assert_close(turn, expected, atol=1e-5, rtol=0)
    assert jump[:, 1:].mean().item() == pytest.approx(0.2, abs=0.02)


def test_process_noise_moves_the_dot_as_adding_it_and_going_back_to_the_circle_does():
    data = build("circular", jump_rate=0.0, process_noise=0.3, num_train=2000).train
    turn = wrapped(angles(data.targets["position"]).diff(dim=1) - 0.1 * math.pi).flatten()
    start = torch.tensor([0.6, 0.8], dtype=torch.float64)
    moved = start + math.sqrt(0.3) * torch.randn(40000, 2, dtype=torch.float64)
    direct = wrapped(angles(moved) - angles(start))
    assert turn.mean().item() == pytest.approx(0.0, abs=0.02)
    for moment in (turn.cos().mean() - direct.cos().mean(), turn.var() - direct.var()):
        assert moment.item() == pytest.approx(0.0, abs=0.025)


def test_the_square_is_run_along_its_sides_at_one_speed_beside_the_phase_on_a_circle():
    data = build("square", step_seconds=0.2, num_steps=41, random_phase=False).train
    position = data.targets["position"].double()
    assert (position.abs().amax(dim=-1) - 1).abs().max() < 1e-6
    torch.testing.assert_close(position[0, 0], torch.tensor([1.0, -1.0]).double())
    # Steps add up along both coordinates at a corner, so their sum is the way on the perimeter.
    way = position.diff(dim=1).abs().sum(dim=-1)
    torch.testing.assert_close(way, torch.full_like(way, 8 * 0.2 / 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(position[:, 20:], position[:, :21], atol=1e-5, rtol=0)
    assert (wrapped(angles(position).diff(dim=1)) > 0).all()
    phase = 2 * math.pi * torch.arange(41) * 0.2 / 4
    expected = torch.stack([phase.cos(), phase.sin()], dim=-1).expand(6, -1, -1)
    torch.testing.assert_close(data.targets["phase_position"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("motion", ["figure8", "circular", "square"])
def test_a_random_phase_starts_anywhere_on_the_path_and_without_it_all_start_alike(motion):
    settings = {**SMALL, "num_train": 2000, "motion": motion, "num_steps": 2}
    start = moving_dot(random_phase=True, **settings).train.targets["position"][:, 0]
    # The path is symmetric, so its points average to zero, with a standard error of 0.02.
    assert start.mean(dim=0).abs().max() < 0.08
    assert start.std(dim=0).min() > 0.3
    alike = moving_dot(random_phase=False, **settings).train
    assert (alike.targets["position"][:, 0].std(dim=0) == 0).all()


def test_data_sets_describe_themselves_in_one_line():
    for name in BUILDERS:
        data = build(name)
        assert 0 < len(data.description) < 160
        assert "\n" not in data.description
        shape = None if data.kind != "frames" else (1, 10, 10)
        assert replace(data).frame_shape == shape
