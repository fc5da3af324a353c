"""Baselines on lightly's losses and heads: what they compute, remember and refuse."""

from __future__ import annotations

import copy
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_module
from lightly import loss as losses
from omegaconf import DictConfig, OmegaConf
from toy import plain

from solo_ldm.host.pretrain import pretrain
from solo_ldm.host.run import load_checkpoint
from solo_ldm.host.schema import complete
from solo_ldm.methods import find_method, lightly
from solo_ldm.methods.lightly.method import LightlyMethod
from solo_ldm.methods.lightly.recipes import RECIPES

# Toy runs are too short to leave a collapse.
pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.host.guards.CollapseWarning")

AVERAGED = [name for name, recipe in RECIPES.items() if "base_tau" in recipe.settings]
MULTI = [name for name, recipe in RECIPES.items() if recipe.crops == "multi"]
SMALL = {
    "proj_hidden_dim": 32,
    "proj_output_dim": 8,
    "pred_hidden_dim": 16,
    "queue_size": 64,
    "num_prototypes": 12,
    "loss_dim": 8,
    "whitening_size": 32,
    "sigreg_num_vectors": 16,
    "num_slices": 16,
}


@cache
def composed(name: str, *overrides: str) -> dict[str, Any]:
    """Compose a packaged config, cut down to run in seconds."""
    small = [
        "max_epochs=3",
        "scheduler.warmup_epochs=1",
        "optimizer.batch_size=32",
        "+backbone.kwargs.width=8",
        "data.num_workers=0",
        "data.fraction=0.1",
        "evaluation.protocols=[]",
        "evaluation.report=false",
    ]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return plain(compose(f"lightly/{name}", overrides=[*small, *overrides]))


def toy(name: str, *overrides: str, **method_kwargs: Any) -> DictConfig:
    """Return a completed configuration with small heads and the settings given."""
    cfg = copy.deepcopy(composed(name, *overrides))
    sizes = {key: value for key, value in SMALL.items() if cfg["method_kwargs"].get(key)}
    cfg["method_kwargs"].update(sizes, **method_kwargs)
    return complete(OmegaConf.create(cfg))


def build(name: str, large: int = 2, small: int = 0, **method_kwargs: Any) -> LightlyMethod:
    cfg = toy(name, **method_kwargs)
    cfg.data.update(num_classes=10, image_size=16, num_large_crops=large, num_small_crops=small)
    method = lightly.find(name)(cfg)
    method.log_dict = lambda *args, **kwargs: None  # there is no trainer to log to
    return method


def batch(large: int = 2, small: int = 0) -> list[Any]:
    images = torch.rand(32, 3, 16, 16)
    crops = [images + 0.1 * torch.randn_like(images) for _ in range(large)]
    crops += [crop[:, :, 4:12, 4:12] for crop in crops[:1] * small]
    return [torch.arange(32), crops, torch.arange(32) % 10]


def train(method: LightlyMethod, num_steps: int, data: list[Any], first: int = 0) -> list[float]:
    """Make some steps as the trainer does; return the losses."""
    optimizer = torch.optim.AdamW(method.learnable_params, lr=1e-3)
    found = []
    for step in range(first, first + num_steps):
        out = method.training_step(data, 0)
        optimizer.zero_grad()
        out["loss"].backward()
        method.on_after_backward()
        optimizer.step()
        method.move_average(step + 1, 100)
        found.append(out["terms"]["train_ssl_loss"].item())
    return found


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


def unit(z: torch.Tensor) -> torch.Tensor:
    return F.normalize(z, dim=-1)


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


# Small crops.


@pytest.mark.parametrize("name", MULTI)
def test_small_crops_join_the_loss(name):
    method, data = build(name, small=2), batch(small=2)
    assert [crop.shape[-1] for crop in data[1]] == [16, 16, 8, 8]
    whole = method.training_step(data, 0)
    assert len(whole["z"]) == 4
    data[1][3] = data[1][3] + 1.0
    changed = build(name, small=2)
    changed.load_state_dict(method.state_dict())
    assert whole["loss"] != changed.training_step(data, 0)["loss"]


def test_dino_compares_small_crops_with_the_teachers_large_ones():
    method, data = build("dino", small=2), batch(small=2)
    z = [method.parts.projector(method.backbone(crop)) for crop in data[1]]
    t = [method.average["projector"](method.average["backbone"](crop)) for crop in data[1][:2]]
    expected = losses.DINOLoss(12, 0.04, 0.04, 10)(t, z, epoch=0)
    torch.testing.assert_close(
        method.training_step(data, 0)["terms"]["train_ssl_loss"], expected.detach()
    )


def test_swav_assigns_large_crops_alone_and_predicts_them_from_all():
    method, data = build("swav", small=2), batch(small=2)
    method.parts.prototypes.normalize()
    p = [
        method.parts.prototypes(unit(method.parts.projector(method.backbone(crop))))
        for crop in data[1]
    ]
    expected = losses.SwaVLoss()(p[:2], p[2:]).reshape(())
    torch.testing.assert_close(
        method.training_step(data, 0)["terms"]["train_ssl_loss"], expected.detach()
    )


@pytest.mark.parametrize("name", sorted(set(RECIPES) - set(MULTI)))
def test_other_methods_refuse_small_crops_in_a_line(name):
    with pytest.raises(ValueError, match=f"lightly/{name} takes two .*no small ones.*num_crops"):
        build(name, small=2)


def test_frossl_and_mmcr_take_more_large_crops():
    for name in ("frossl", "mmcr"):
        assert build(name, large=3).training_step(batch(large=3), 0)["loss"].isfinite()
    with pytest.raises(ValueError, match="lightly/simclr takes two large crops"):
        build("simclr", large=3)


# What is held still at first, and queues.


def test_the_last_layer_of_dino_and_the_prototypes_of_swav_wait_an_epoch():
    for name, held in (("dino", "projector.last_layer"), ("swav", "prototypes")):
        method = build(name)
        before = {key: value.clone() for key, value in method.parts.state_dict().items()}
        train(method, 2, batch())
        after = method.parts.state_dict()
        keys = [key for key in before if key.startswith(held)]
        assert keys
        # SwAV's prototypes start on the unit sphere after the first step.
        changed = [key for key in keys if not torch.allclose(unit(before[key]), unit(after[key]))]
        assert not changed
        assert not torch.equal(
            before["projector.layers.0.weight"], after["projector.layers.0.weight"]
        )


def test_swavs_queue_fills_at_once_and_counts_from_its_epoch():
    data = batch()
    found = {}
    for start in (0, 1):
        torch.manual_seed(3)
        method = build("swav", queue_size=64, epoch_queue_starts=start)
        before = method.parts.memory[0].bank.clone()
        found[start] = train(method, 1, data)
        assert not torch.equal(before, method.parts.memory[0].bank)
    assert found[0] != found[1]


# Runs.


def run(folder: Path, name: str, *overrides: str, **method_kwargs: Any) -> Any:
    outcome = pretrain(toy(name, f"checkpoint.dir={folder}", *overrides, **method_kwargs))
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("name", ["moco", "tico", "nnclr", "swav", "dino"])
def test_an_interrupted_run_continues_with_its_queues_and_averages(tmp_path, monkeypatch, name):
    kwargs = {"queue_size": 64, "epoch_queue_starts": 1} if name == "swav" else {}
    whole = run(tmp_path / "whole", name, **kwargs).folder

    def interrupt(method: LightlyMethod) -> None:
        if method.current_epoch == 2:
            raise RuntimeError("power cut")

    monkeypatch.setattr(LightlyMethod, "on_train_epoch_start", interrupt)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "parts", name, **kwargs)
    monkeypatch.undo()
    resumed = run(tmp_path / "parts", name, **kwargs).folder
    assert resumed.path.parent == tmp_path / "parts" / "lightly" / name
    expected = load_checkpoint(whole.last)["state_dict"]
    actual = load_checkpoint(resumed.last)["state_dict"]
    assert expected.keys() == actual.keys()
    assert [key for key in expected if not torch.equal(expected[key], actual[key])] == []


def test_the_average_moves_after_every_step_of_the_optimiser(tmp_path):
    # With no memory of its past it is the network.
    folder = run(tmp_path, "byol", "accumulate_grad_batches=2", base_tau=0.0, final_tau=0.0).folder
    state = load_checkpoint(folder.last)["state_dict"]
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    own = [key for key in state if key.startswith("backbone.") and not key.endswith(buffers)]
    assert own
    assert all(torch.equal(state[key], state[f"average.{key}"]) for key in own)


# Names and settings.


def test_every_recipe_has_a_configuration_and_says_what_it_publishes():
    folder = Path(lightly.__file__).parents[2] / "configs" / "lightly"
    assert sorted(path.stem for path in folder.glob("*.yaml")) == sorted(RECIPES)
    for name, recipe in RECIPES.items():
        cfg = toy(name)
        assert cfg.method == f"lightly/{name}"
        assert set(cfg.method_kwargs) <= set(recipe.settings)
        published = dict(cfg.published)
        assert "arXiv" in published.pop("source")
        for key in published:
            block, _, leaf = key.partition(".")
            known = recipe.settings if block == "method_kwargs" else cfg[block]
            assert not leaf or leaf in known, key


def test_a_configuration_takes_another_data_set():
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose("lightly/dino", overrides=["data=cifar10"])
    assert cfg.data.dataset == "cifar10"
    assert cfg.backbone.name == "resnet18"
    assert cfg.augmentations[0].crop_size == 32


def test_the_class_of_a_name_is_one():
    assert find_method("lightly/byol") is lightly.find("byol")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simclrr", "method must be one of lightly/simclr.*did you mean simclr"),
        ("mae", "lightly/mae cannot be trained here: it masks patches"),
        ("emp_ssl", "lightly/emp_ssl cannot be trained here: .*collapse"),
    ],
)
def test_other_names_are_refused_in_a_line(name, message):
    with pytest.raises(ValueError, match=message) as raised:
        find_method(f"lightly/{name}")
    assert "\n" not in str(raised.value)


def test_emp_ssl_is_least_where_latents_collapse():
    spread = unit(torch.randn(64, 16))
    collapsed = unit(torch.ones(64, 16))
    loss = losses.EMPSSLLoss()
    assert loss([collapsed, collapsed]) < loss([spread, spread])


def test_a_missing_lightly_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(lightly, "find_spec", lambda name: None)
    lightly.find.cache_clear()
    with pytest.raises(ValueError, match=r"needs the package lightly: pip install solo-ldm\[base"):
        lightly.find("dino")


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("simclr", {"temprature": 1.0}, r"method_kwargs.temprature: did you mean temperature\?"),
        ("simclr", {"base_tau": 0.9}, "unknown key method_kwargs.base_tau"),
        ("simclr", {"temperature": "hot"}, "method_kwargs.temperature must be a number, got 'hot'"),
        ("simclr", {"temperature": 0}, "method_kwargs.temperature must be above 0, got 0"),
        ("simclr", {"proj_hidden_dim": 1.5}, "must be a whole number, got 1.5"),
        ("simclr", {"proj_output_dim": 0}, "proj_output_dim must be at least 1, got 0"),
        ("nnclr", {"queue_size": 0}, "queue_size must be at least 1, got 0"),
        ("directclr", {"loss_dim": 4096}, "loss_dim=4096 is more than the .* features"),
        ("byol", {"base_tau": 1.5}, "base_tau must be at least 0 and at most 1, got 1.5"),
        ("dino", {"use_bn_in_head": 1}, "use_bn_in_head must be true or false, got 1"),
        ("wmse", {"whitening_size": 8}, "whitening_size=8 must be at least twice"),
        ("wmse", {"whitening_size": 24}, "batch_size=32 must be a multiple of"),
    ],
)
def test_wrong_settings_are_named_in_a_line(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as raised:
        build(name, **kwargs)
    assert "\n" not in str(raised.value)


def test_momentum_may_stand_where_solo_learn_has_it():
    cfg = toy("byol", base_tau=None, final_tau=None)
    cfg.momentum = {"base_tau": 0.5, "final_tau": 0.75}
    settings = find_method("lightly/byol").settings(cfg)
    assert (settings["base_tau"], settings["final_tau"]) == (0.5, 0.75)
    cfg = toy("simclr")
    cfg.momentum = {"base_tau": 0.5}
    with pytest.raises(ValueError, match=r"unknown key momentum.base_tau \(lightly/simclr takes"):
        find_method("lightly/simclr").settings(cfg)


def test_an_older_lightly_is_named_with_what_mends_it(monkeypatch):
    monkeypatch.delattr(losses, "VISRegLoss")
    lightly.find.cache_clear()
    with pytest.raises(ValueError, match=r"needs lightly 1\.6 or later, .* is installed: pip"):
        lightly.find("dino")
