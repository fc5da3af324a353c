"""Soft equivariance: what it is, where it is nothing, and what it is refused for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import Tensor, nn

from solo_ldm.backbones import create_backbone
from solo_ldm.backbones.small import maps_of
from solo_ldm.entropy import KernelEntropy
from solo_ldm.latents import VonMisesFisherSphere
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.equivariance import (
    SYMMETRIES,
    Equivariance,
    draw_symmetry,
    equivariance_of,
    moved,
)
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective
from solo_ldm.run.configuration import complete
from tests.support.methods.configurations import method_config

ON = {"equivariance_weight": 1.0}


class Network(nn.Module):
    """Convolutions of the given sides, with timm's `forward_intermediates`."""

    def __init__(self, *sides: int, stride: int = 1, channels: int = 6) -> None:
        super().__init__()
        widths = [3, *[channels] * len(sides)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, channels, side, stride, side // 2), nn.BatchNorm2d(channels)
            )
            for before, side in zip(widths, sides, strict=False)
        )

    def forward_intermediates(self, x: Tensor, indices: Any = None, **how: Any) -> Any:
        return maps_of([*self.stages], x, indices, **how)


def images(count: int = 5, side: int = 4) -> Tensor:
    return torch.randn(count, 3, side, side, dtype=torch.float64)


def term(layer: int = 0, channels: int = 6) -> Equivariance:
    return Equivariance(layer, channels).double()


def test_the_symmetries_of_a_square_are_eight_and_only_the_first_leaves_it_as_it_is():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    found = [moved(x, symmetry) for symmetry in range(SYMMETRIES)]
    assert torch.equal(found[0], x)
    assert len({tuple(one.flatten().tolist()) for one in found}) == 8


def test_what_moves_is_a_function_of_seed_epoch_and_step_and_all_seven_are_as_frequent():
    drawn = [draw_symmetry(3, epoch, step) for epoch in range(7) for step in range(200)]
    assert drawn == [draw_symmetry(3, epoch, step) for epoch in range(7) for step in range(200)]
    assert drawn != [draw_symmetry(4, epoch, step) for epoch in range(7) for step in range(200)]
    counts = Counter(drawn)
    assert sorted(counts) == [1, 2, 3, 4, 5, 6, 7]
    assert all(abs(count - 200) < 60 for count in counts.values())  # more than four deviations


@pytest.mark.parametrize("symmetry", range(1, SYMMETRIES))
def test_maps_of_single_pixels_move_with_the_image_and_the_cosine_is_one(symmetry):
    """Convolutions of one pixel are equivariant: log p is κ. Those of 3 × 3 random ones are not."""
    x, ours = images(), term(layer=1)
    exact = ours(Network(1, 1).double(), x, symmetry)
    assert exact.log_prob.item() == pytest.approx(ours.precision, abs=1e-12)
    assert ours(Network(3, 3).double(), x, symmetry).log_prob.item() < 0.99 * ours.precision


def test_at_exact_equivariance_no_gradient_of_log_p_reaches_the_network():
    network, ours = Network(1, 1).double(), term(layer=1)
    log_prob = ours(network, images(), 5).log_prob
    found = torch.autograd.grad(log_prob, [*network.parameters()], allow_unused=True)
    assert all(one is None or one.abs().max() < 1e-9 for one in found)


def authors(network: Network, ours: Equivariance, x: Tensor, symmetry: int) -> Tensor:
    """The authors' loss, written from its description: exponentials, a mask and loops over images.

    Rows are positions of maps that were moved, columns those of maps of images that were.
    """
    both = network.stages[0](torch.cat([x, moved(x, symmetry)]))
    first, second = ours.projector(both).chunk(2)
    first = moved(first, symmetry)
    q, k = (one.flatten(2).transpose(1, 2).flatten(0, 1) for one in (first, second))
    q, k = (nn.functional.normalize(one, dim=1) for one in (q, k))
    similar = q @ k.T * ours.precision
    mask, positions = torch.ones_like(similar), first[0, 0].numel()
    for start in range(0, len(q), positions):
        mask[start : start + positions, start : start + positions] = 0
    mask.fill_diagonal_(1)
    kernels = similar.exp() * mask
    losses = [kernels.sum(dim=dim).log().sum() - similar.trace() for dim in (0, 1)]
    return 0.5 * (losses[0] + losses[1]) / len(q)


@pytest.mark.parametrize("symmetry", [1, 6])
def test_values_and_gradients_are_those_of_the_authors_loss_of_positions(symmetry):
    network, ours, x = Network(3).double(), term(), images()
    leaves = [*network.stages[0][0].parameters(), *ours.parameters()]  # pyright: ignore
    value, expected = ours(network, x, symmetry).loss, authors(network, ours, x, symmetry)
    torch.testing.assert_close(value, expected, atol=1e-10, rtol=0)
    pairs = zip(*(torch.autograd.grad(one, leaves) for one in (value, expected)), strict=True)
    for found, wanted in pairs:
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


def test_of_one_position_an_image_it_is_the_cell_of_the_sphere_with_cross_kernels_at_a_half():
    network, ours, x = Network(3, stride=4).double(), term(), images()
    precision = ours.precision
    cell = LDMObjective(
        VonMisesFisherSphere(precision), KernelEntropy("sphere", precision), "cross", 0.5
    )
    both = ours.projector(network.stages[0](torch.cat([x, moved(x, 2)]))).flatten(1)
    expected = cell(*nn.functional.normalize(both, dim=1).chunk(2))
    for found, wanted in zip(ours(network, x, 2), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


def test_running_averages_stay_those_of_the_views():
    network, ours = Network(3, 3).double(), term(layer=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ours(network, images(), 3).loss.backward()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["convnet_small", "resnet_tiny_32"])
def test_feature_maps_of_our_networks_are_those_on_the_way_to_the_last(name):
    network: Any = create_backbone(name, 16, width=4) if name == "convnet_small" else None
    network = network or create_backbone(name, 16)
    x = torch.randn(2, 3, 16, 16)
    network.eval()
    last, maps = network.forward_intermediates(x)
    end = network.last(last) if hasattr(network, "last") else last
    torch.testing.assert_close(end, network.forward_features(x), atol=0, rtol=0)
    torch.testing.assert_close(last, maps[-1], atol=0, rtol=0)
    how = {"intermediates_only": True, "stop_early": True}
    assert torch.equal(network.forward_intermediates(x, [1], **how)[0], maps[1])
    assert torch.equal(network.forward_intermediates(x, 1, **how)[0], maps[-1])
    with pytest.raises(ValueError, match="output_fmt: expected NCHW, got NLC"):
        network.forward_intermediates(x, output_fmt="NLC")


def step_of(folder: Path, name: str, **method_kwargs: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return a method of a packaged configuration, a batch, and what a step will log."""
    cfg = method_config(folder, name, **method_kwargs)
    method: Any = find_method(cfg.method)(cfg)
    logged: dict[str, Any] = {}
    method.log_dict = lambda metrics, *args, **kwargs: logged.update(metrics)
    labels = torch.arange(16)
    return method, [labels, [torch.randn(16, 3, 16, 16) for _ in range(2)], labels % 10], logged


@pytest.mark.parametrize(
    ("name", "method_kwargs"),
    [("gaussprob", {}), ("sphereprob", {}), ("simclr", {}), ("vicreg", {}), ("byol", {}),
     ("product", {"proj_output_dim": None}), ("ldm", {"latent": "prototypes"})],
)  # fmt: skip
def test_every_cell_takes_it_and_its_loss_is_that_of_the_cell_and_the_weighted_term(
    name, method_kwargs, tmp_path
):
    method, batch, logged = step_of(tmp_path, name, **method_kwargs, equivariance_weight=0.7)
    assert type(method).describe(method.cfg).terms[-1] == "train_equivariance"
    loss = method.training_step(batch, 0)["loss"]
    terms = {key: float(logged[f"train_{key}"]) for key in ("ldm_loss", "equivariance")}
    weights = method.objective.weight if hasattr(method.objective, "weight") else 1.0
    cell = -logged["train_log_prob"] - weights * logged["train_entropy"]
    assert terms["ldm_loss"] == pytest.approx(float(cell) + 0.7 * terms["equivariance"], rel=1e-5)
    loss.backward()
    groups = {one["name"]: [*one["params"]] for one in method.learnable_params}
    assert all(parameter.grad.abs().sum() > 0 for parameter in groups["equivariance"])
    assert -1 <= logged["train_equivariance_cosine"] <= 1


def test_a_weight_of_none_is_no_term_bit_for_bit(tmp_path):
    found = []
    for given in ({}, {"equivariance_weight": 0.0}):
        torch.manual_seed(0)
        method, batch, logged = step_of(tmp_path, "gaussprob", **given)
        method.training_step(batch, 0)["loss"].backward()
        gradients = {key: one.grad for key, one in method.named_parameters()}
        found.append({**method.state_dict(), **logged, "random": torch.get_rng_state()})
        found[-1] |= {f"gradient of {key}": value for key, value in gradients.items()}
    assert found[0].keys() == found[1].keys()
    assert not [key for key in found[0] if "equivariance" in key]
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_beside_a_compiled_network_it_is_the_same(tmp_path):
    method, batch, logged = step_of(tmp_path, "ldm", **ON)
    losses = []
    for compiled in (False, True):
        if compiled:
            torch.compiler.reset()
            method.backbone.compile(backend="eager")
        losses.append((method.training_step(batch, 0)["loss"].item(), dict(logged)))
    assert losses[1][0] == pytest.approx(losses[0][0], rel=1e-5)
    for key, value in losses[0][1].items():
        torch.testing.assert_close(losses[1][1][key], value, atol=1e-5, rtol=1e-5)


def test_images_of_a_step_are_spread_over_the_batch(tmp_path):
    ours = Equivariance(0, 6, num_samples=4)
    seen: list[Tensor] = []
    ours.forward = lambda backbone, x, symmetry: seen.append(x)  # pyright: ignore
    method = SimpleNamespace(
        channels_last=False, backbone=None, current_epoch=0, cfg=SimpleNamespace(seed=0)
    )
    for count in (3, 16, 18):
        ours.of_step(method, [torch.arange(count)[:, None, None, None].expand(-1, 1, 2, 2)], 0)
    assert [one[:, 0, 0, 0].tolist() for one in seen] == [
        [0, 1, 2], [0, 4, 8, 12], [0, 4, 8, 12],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("ldm", ["statistics=whole", "accumulate_grad_batches=2"],
         "statistics: expected batch for method_kwargs.equivariance_weight above 0"),
        ("ijepa", [], "method=masked has no projector and no equivariance"),
        ("clip", [], "equivariance_weight: expected 0 for method=cross, got 1"),
        ("lightly/simclr", [], "method_kwargs.equivariance_weight"),
        ("ldm", ["method_kwargs.equivariance_samples=1"], "equivariance_samples: .* got 1"),
        ("ldm", ["method_kwargs.equivariance_layer=-1"], "equivariance_layer: .* got -1"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_part_of_is_one_line(name, overrides, message):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose(name, overrides=["++method_kwargs.equivariance_weight=1", *overrides])
    with pytest.raises(ValueError, match=message) as refused:
        find_method(cfg.method).describe(complete(cfg))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("backbone", "layer", "message"),
    [
        (nn.Identity(), None, "backbone.name=mine: expected a network with feature maps"),
        (Network(3, 3), 2, "equivariance_layer: expected a number below 2, .* got 2"),
        (Network(3, stride=8), None, "expected a square map of more than one position, got 1 × 1"),
    ],
)
def test_a_network_or_layer_without_a_grid_is_one_line(backbone, layer, message):
    cfg = OmegaConf.create({"backbone": {"name": "mine", "kwargs": {}}, "data": {"image_size": 8}})
    given = {"latent": "sphere", "proj_hidden_dim": 4, "proj_output_dim": 4}
    cell = resolve({**given, **ON, "equivariance_layer": layer})
    with pytest.raises(ValueError, match=message) as refused:
        equivariance_of(cell, cfg, backbone)
    assert "\n" not in str(refused.value)
    cfg.data.pop("image_size")
    with pytest.raises(ValueError, match="expected 0 on solo-learn's host, got 1"):
        equivariance_of(cell, cfg, backbone)


def test_the_layer_is_the_middle_one_unless_one_is_chosen():
    cfg = OmegaConf.create({"backbone": {"name": "", "kwargs": {}}, "data": {"image_size": 8}})
    for layer, expected in ((None, 2), (0, 0), (4, 4)):
        given = {"latent": "sphere", "proj_hidden_dim": 4, "proj_output_dim": 4}
        cell = resolve({**given, **ON, "equivariance_layer": layer})
        ours = equivariance_of(cell, cfg, Network(1, 1, 1, 1, 1))
        assert ours is not None
        assert ours.layer == expected


def test_blocks_of_a_product_have_none_of_their_own():
    blocks = [{"latent": "sphere", "dim": 4, **ON}, {"latent": "plane", "dim": 4}]
    with pytest.raises(ValueError, match=r"blocks\.0\.equivariance_weight"):
        resolve({"latent": "product", "proj_hidden_dim": 4, "blocks": blocks})
