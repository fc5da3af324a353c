"""The two frameworks together; run with SOLO_LEARN=CHECKOUT pytest -m solo_learn."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

from solo_ldm.backbones import create_backbone
from solo_ldm.commands.knn import knn
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.integrations import solo_learn
from solo_ldm.integrations.recipes import RECIPES
from solo_ldm.methods import find_method
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome
from solo_ldm.weights.pretrained import load_pretrained
from tests.support import ROOT
from tests.support.toy import toy_config

pytestmark = [
    pytest.mark.solo_learn,
    # solo-learn uses what torch, timm and logging are about to drop.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="session")
def original() -> Path:
    """Where solo-learn is."""
    named = os.environ.get("SOLO_LEARN")
    spec = importlib.util.find_spec("solo")
    found = Path(named) if named else Path(spec.origin).parents[1] if spec and spec.origin else None
    if found is None or not (found / "main_pretrain.py").is_file():
        pytest.skip("solo-learn is not here: SOLO_LEARN=CHECKOUT pytest -m solo_learn")
    return found.resolve()


@pytest.fixture(scope="session")
def checkout(original, tmp_path_factory) -> Path:
    """A copy, as its scripts write where they are called."""
    copy = tmp_path_factory.mktemp("checkout") / "solo-learn"
    return shutil.copytree(original, copy, ignore=shutil.ignore_patterns(".git", "lightning_logs"))


@pytest.fixture(autouse=True)
def _importable(original, monkeypatch):
    monkeypatch.setenv("SOLO_LEARN", str(original))


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Digits as files in class folders, 32 pixels high, in train/ and val/."""
    folder, digits = tmp_path_factory.mktemp("images"), load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:240], digits.target, strict=False)):
        place = folder / ("train" if number < 160 else "val") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray((image * 15).astype(np.uint8)).convert("RGB")
        pixels.resize((36, 32)).save(place / f"{number:03}.png")
    return folder


def run_script(checkout: Path, script: str, *arguments: str) -> str:
    """Run a script of solo-learn through ours, in the checkout; return what it printed."""
    command = [sys.executable, "-m", "solo_ldm.integrations.solo_learn", script, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


# What makes the experiment files a matter of seconds on a CPU; the rest is theirs.
SMALL = [
    "accelerator=cpu",
    "backbone.name=convnet_small",
    "max_epochs=1",
    "optimizer.batch_size=32",
    "data.num_workers=0",
]


def pretrain_there(checkout: Path, images: Path, folder: Path, method: str) -> Path:
    run_script(
        checkout,
        "main_pretrain.py",
        f"--config-path={ROOT / 'scripts' / 'pretrain' / 'cifar'}",
        f"--config-name={method}.yaml",
        *SMALL,
        "data=custom",
        "augmentations=cifar",
        f"data.train_path={images / 'train'}",
        f"data.val_path={images / 'val'}",
        f"checkpoint.dir={folder}",
    )
    (run,) = (folder / method).iterdir()
    return run


def linear_there(checkout: Path, images: Path, folder: Path, weights: Path) -> Any:
    run_script(
        checkout,
        "main_linear.py",
        f"--config-path={ROOT / 'scripts' / 'linear' / 'cifar'}",
        "--config-name=gaussprob.yaml",
        *SMALL,
        "data.dataset=custom",
        f"data.train_path={images / 'train'}",
        f"data.val_path={images / 'val'}",
        f"checkpoint.dir={folder}",
        f"pretrained_feature_extractor={weights}",
    )
    (written,) = (folder / "linear").glob("*/*.ckpt")
    return torch.load(written, weights_only=True)["state_dict"]


def backbone_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("method", ["gaussprob", "sphereprob"])
def test_solo_learn_trains_our_method_and_both_evaluate_the_checkpoint(
    method, checkout, images, tmp_path
):
    run = pretrain_there(checkout, images, tmp_path, method)
    (checkpoint,) = run.glob("*.ckpt")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())

    evaluated = linear_there(checkout, images, tmp_path, run)
    assert_same_weights(backbone_of(evaluated), backbone_of(state))
    shown = run_script(
        checkout,
        "main_knn.py",
        *("--pretrained_checkpoint_dir", str(run), "--dataset", "custom", "--k", "5"),
        *("--train_data_path", str(images / "train"), "--val_data_path", str(images / "val")),
        *("--temperature", "0.1", "--distance_function", "cosine", "--feature_type", "backbone"),
        *("--num_workers", "0"),
    )
    accuracy = re.search(r"acc@1=([\d.]+)", shown)
    assert accuracy is not None
    assert 10 < float(accuracy[1]) <= 100

    ours = load_pretrained(run)
    assert (ours.kind, ours.method, ours.backbone_name) == ("solo-learn", method, "convnet_small")
    assert_same_weights(dict(ours.backbone.state_dict()), backbone_of(state))
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose("knn", overrides=["data=custom", f"pretrained_feature_extractor={run}"])
        cfg.data.train_path, cfg.data.val_path = str(images / "train"), str(images / "val")
        cfg.data.num_workers, cfg.accelerator = 0, "cpu"
    knn(cfg)


def test_solo_learns_linear_evaluation_takes_a_run_of_ours(checkout, images, tmp_path):
    outcome = pretrain(toy_config(tmp_path, "max_epochs=1"))
    assert outcome is not None
    evaluated = linear_there(checkout, images, tmp_path, outcome.folder.path)
    assert_same_weights(backbone_of(evaluated), load_file(outcome.folder.backbone))


def test_solo_learn_evaluates_our_resnet_with_the_stem_that_it_was_trained_with(tmp_path):
    outcome = pretrain(toy_config(tmp_path, "backbone.name=resnet18", "~backbone.kwargs.width",
                                  "max_epochs=1", "data.fraction=0.1"))  # fmt: skip
    assert outcome is not None
    cfg = OmegaConf.create(
        {
            "pretrained_feature_extractor": str(outcome.folder.path),
            "backbone": {"name": "resnet18"},
            "data": {"dataset": "cifar10", "train_path": "."},
            "optimizer": {"batch_size": 8, "lr": 0.1},
            "scheduler": {"name": "step"},
            "max_epochs": 10,
            "accelerator": "cpu",
        }
    )
    solo_learn._for_linear(cfg)
    known = solo_learn._modules()["solo.methods.base"].BaseMethod._BACKBONES
    there = known[cfg.backbone.name](method=None, **cfg.backbone.kwargs)
    weights = load_file(outcome.folder.backbone)
    there.load_state_dict(weights)
    pixels = torch.randn(2, 3, 32, 32)
    ours = create_backbone("resnet18", 32)
    ours.load_state_dict(weights)
    torch.testing.assert_close(there.eval()(pixels), ours.eval()(pixels))
    # Its own ResNet-18 for CIFAR pads by 2, which is another function of the same weights.
    padded = create_backbone("resnet18", 32, stem="solo-learn")
    padded.load_state_dict(weights)
    assert not torch.allclose(padded.eval()(pixels), ours(pixels))
    # Not of a name that solo-learn would give that stem to.
    assert not cfg.backbone.name.startswith("resnet")
    assert cfg.scheduler.lr_decay_steps == [6, 8]


def test_two_processes_train_as_one_command(checkout, images, tmp_path):
    run_script(
        checkout,
        "main_pretrain.py",
        *("--config-name", "gaussprob.yaml", *SMALL, "devices=2", "strategy=ddp"),
        *("data=custom", "augmentations=cifar", f"data.train_path={images / 'train'}"),
        f"checkpoint.dir={tmp_path}",
    )
    (run,) = (tmp_path / "gaussprob").iterdir()
    args = json.loads((run / "args.json").read_text())
    # 0.003 for 256 samples a step, of which there are 2 × 32.
    assert args["optimizer"]["lr"] == pytest.approx(0.003 * 64 / 256)


def test_solo_learns_own_experiments_run_without_a_gpu(checkout, images, tmp_path):
    run_script(
        checkout,
        "main_pretrain.py",
        *("--config-path=scripts/pretrain/cifar", "--config-name=vicreg.yaml", *SMALL),
        *("data.dataset=custom", f"data.train_path={images / 'train'}", "data.val_path=null"),
        *("wandb.enabled=False", "method_kwargs.proj_hidden_dim=32", f"checkpoint.dir={tmp_path}"),
    )
    assert len(list((tmp_path / "vicreg").glob("*/*.ckpt"))) == 1


@pytest.mark.slow
def test_no_test_of_solo_learn_that_passes_without_us_fails_with_us(checkout):
    def failures(*arguments: str) -> list[str]:
        # Where pandas and seaborn are missing, one of its files is no more than an error.
        options = ["-q", "--tb=no", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
        command = [sys.executable, "-m", "pytest", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, *arguments], cwd=checkout, capture_output=True, text=True, env=environment
        )
        assert " passed" in done.stdout or " failed" in done.stdout, done.stdout + done.stderr
        return re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)

    failed = failures("-p", "solo_ldm.integrations.solo_learn", "tests")
    # Some need a GPU or the network.
    assert not failed or set(failed) <= set(failures(*failed))


def registry() -> tuple[dict[str, Any], dict[str, Any]]:
    modules = solo_learn._modules()
    return modules["solo.methods"].METHODS, modules["solo.methods.base"].BaseMethod._BACKBONES


def test_registering_twice_is_as_once():
    solo_learn.register()
    methods, backbones = (dict(one) for one in registry())
    parents = solo_learn._modules()["solo.utils.knn"].WeightedKNNClassifier.__mro__
    solo_learn.register()
    assert (methods, backbones) == registry()
    assert solo_learn._modules()["solo.utils.knn"].WeightedKNNClassifier.__mro__ == parents
    assert {"gaussprob", "sphereprob", "ldm"} <= methods.keys()


def test_registering_overrides_nothing_that_solo_learn_has(monkeypatch, caplog):
    methods, backbones = registry()
    theirs = type("GaussProb", (), {})
    monkeypatch.setitem(methods, "gaussprob", theirs)
    before = {name: one for name, one in backbones.items() if name != "convnet_small"}
    solo_learn.register()
    assert methods["gaussprob"] is theirs
    assert "method gaussprob of its own, which is kept" in caplog.text
    assert before.items() <= backbones.items()


def test_every_method_of_solo_learn_has_a_recipe_and_no_other():
    solo_learn.register()
    methods, _ = registry()
    assert set(RECIPES) == set(methods) - {"base", "linear", *solo_learn.BODIES}


def test_solo_learns_methods_read_no_key_that_their_recipe_lacks(original):
    for name, recipe in RECIPES.items():
        source = (original / "solo" / "methods" / f"{name}.py").read_text()
        read = set(re.findall(r"cfg\.method_kwargs\.(\w+)", source))
        assert read == set(recipe.kwargs), name


def both_hosts(tmp_path: Path, name: str, *overrides: str) -> tuple[Any, Any]:
    """Return a method of ours on each host, with the same weights."""
    cfg = toy_config(tmp_path, *overrides, name=name)
    cfg = OmegaConf.create(OmegaConf.to_container(cfg))
    cfg.data.update(num_classes=10, image_size=16, num_large_crops=2, num_small_crops=0)
    solo_learn.register()
    methods, _ = registry()
    here, there = find_method(cfg.method)(cfg), methods[cfg.method](cfg.copy())
    there.load_state_dict(here.state_dict())
    for model in (here, there):
        model.log_dict = lambda *_, **__: None
    return here, there


@pytest.mark.parametrize("name", ["gaussprob", "sphereprob"])
@pytest.mark.parametrize("entropy", ["kernel", "neighbour", "logdet"])
@pytest.mark.parametrize("over", ["joint", "marginal"])
def test_our_loss_is_the_same_on_both_hosts(tmp_path, name, entropy, over):
    cell = [f"method_kwargs.entropy={entropy}", f"method_kwargs.over={over}"]
    here, there = both_hosts(tmp_path, name, *cell)
    targets = torch.arange(32) % 10
    targets[::3] = -1  # some images are without a label
    batch = [torch.arange(32), [torch.randn(32, 3, 16, 16) for _ in range(2)], targets]
    ours, theirs = (model.double().training_step(to_double(batch), 0) for model in (here, there))
    for term in ("train_ldm_loss", "train_log_prob", "train_entropy"):
        torch.testing.assert_close(ours["terms"][term], theirs["terms"][term], rtol=1e-12, atol=0)
    # Our online classifier's loss is in float32.
    torch.testing.assert_close(ours["loss"], theirs["loss"], rtol=1e-6, atol=0)
    for out in (ours, theirs):
        out["loss"].backward()
    gradients = zip(here.named_parameters(), there.named_parameters(), strict=True)
    for (part, one), (_, other) in gradients:
        near = {"rtol": 1e-4, "atol": 1e-7} if "classifier" in part else {"rtol": 0, "atol": 1e-12}
        torch.testing.assert_close(one.grad, other.grad, **near)


def test_the_target_of_a_moving_average_moves_under_solo_learn(tmp_path):
    """After the first of T steps: θ̄ = τ θ̄₀ + (1 − τ) θ, as in our host."""
    _, there = both_hosts(tmp_path, "byol", "method_kwargs.base_tau=0.5")
    start = {key: value.clone() for key, value in there.target.state_dict().items()}
    crops = [torch.randn(16, 3, 16, 16) for _ in range(2)]
    batches = [[torch.arange(16), crops, torch.arange(16) % 10]] * 2
    trainer = pl.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    del there.log_dict  # what both_hosts put in its place
    trainer.fit(there, DataLoader(batches, batch_size=None))
    tau = there.target.tau(1.0 / trainer.estimated_stepping_batches)
    for name, weight in there.backbone.named_parameters():
        moved = there.target.get_submodule("backbone").get_parameter(name)
        torch.testing.assert_close(moved, tau * start[f"backbone.{name}"] + (1 - tau) * weight)


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "scripts" / "pretrain").rglob("*.yaml"))
        if path.stem not in ("paper", "ijepa")  # what others share; what solo-learn is not for
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_every_experiment_file_builds_its_method_under_solo_learn(path, tmp_path):
    solo_learn.register()
    methods, _ = registry()
    with initialize_config_dir(str(path.parent), version_base="1.3"):
        cfg = compose(
            path.stem, overrides=["hydra.searchpath=[pkg://solo_ldm.configs]", "accelerator=cpu"]
        )
    OmegaConf.set_struct(cfg, False)
    solo_learn._for_pretraining(cfg)
    cfg = solo_learn._modules()["solo.args.pretrain"].parse_cfg(cfg)
    expected = find_method(cfg.method).settings(cfg)
    method = methods[cfg.method](cfg)
    assert method.settings(cfg) == expected
    assert method.objective.over == expected.over
    assert method.projector[-1 - expected.proj_output_batch_norm].out_features == (
        expected.proj_output_dim
    )


def to_double(batch: list[Any]) -> list[Any]:
    return [batch[0], [crop.double() for crop in batch[1]], batch[2]]


def test_a_batch_without_labels_has_a_finite_loss_under_solo_learn(tmp_path):
    _, there = both_hosts(tmp_path, "gaussprob")
    crops = [torch.randn(16, 3, 16, 16) for _ in range(2)]
    out = there.training_step([torch.arange(16), crops, -torch.ones(16, dtype=torch.long)], 0)
    assert torch.isfinite(out["loss"])
    assert out["terms"]["train_class_loss"] == 0


def hosted(folder: Path, name: str, *overrides: str) -> Outcome:
    """Train a method of solo-learn in our host, cut down to seconds."""
    small = ["data.format=torchvision", "data.fraction=0.3", "evaluation.protocols=[linear-online]"]
    if name in ("deepclusterv2", "swav", "dino"):
        count = "[16,16,16]" if name == "deepclusterv2" else "16"
        small.append(f"method_kwargs.num_prototypes={count}")
    if name == "wmse":
        small.append("method_kwargs.whitening_size=32")
    if name == "mae":
        small += ["method_kwargs.proj_hidden_dim=null", "method_kwargs.proj_output_dim=null"]
        small += ["backbone.name=vit_tiny", "~backbone.kwargs.width", "data.fraction=0.1"]
        small += ["+backbone.kwargs.patch_size=8", "+backbone.kwargs.num_heads=12"]
    outcome = pretrain(toy_config(folder, f"method=solo/{name}", *small, *overrides, name="solo"))
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("name", RECIPES)
def test_each_method_of_solo_learn_trains_in_our_host(tmp_path, name):
    outcome = hosted(tmp_path, name)
    results = outcome.results
    assert results["method"] == f"solo/{name}"
    assert np.isfinite(results["final_terms"]["ssl_loss"])
    assert 0 <= results["results"]["linear-online"]["top1"] <= 1
    assert results["health"]["z_effective_rank"] >= 1
    rows = outcome.folder.metrics.read_text().splitlines()
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert 0 <= float(last["val_acc1"]) <= float(last["val_acc5"]) <= 1  # shares, not percentages
    assert float(last["val_class_loss"]) > 0
    again = load_pretrained(outcome.folder.last)
    assert_same_weights(dict(again.backbone.state_dict()), load_file(outcome.folder.backbone))


@pytest.mark.parametrize("name", ["byol", "supcon"])
def test_without_labels_it_trains_or_says_that_it_needs_them(tmp_path, name):
    overrides = ["data.no_labels=true", "evaluation.protocols=[]"]
    if name == "supcon":
        with pytest.raises(ValueError, match="method=solo/supcon learns from labels"):
            hosted(tmp_path, name, *overrides)
        return
    state = torch.load(hosted(tmp_path, name, *overrides).folder.last, weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
    assert "classifier.weight" not in state["state_dict"]


DIES = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from tests.solo_ldm.integrations.test_solo_learn import hosted

look = StopAtNonFinite.on_train_batch_end

def die(self, trainer, *rest):
    look(self, trainer, *rest)
    if trainer.global_step == 10:
        os.kill(os.getpid(), signal.SIGKILL)

StopAtNonFinite.on_train_batch_end = die
hosted(Path(sys.argv[2]), *sys.argv[3:])
"""


# With a moving average, a queue from the start, one made when training starts, and a memory.
@pytest.mark.parametrize("name", ["byol", "mocov2plus", "swav", "deepclusterv2"])
def test_a_killed_run_of_a_method_of_solo_learn_continues_bit_for_bit(tmp_path, name):
    overrides = ["max_epochs=3"]
    if name == "swav":
        overrides.append("method_kwargs.epoch_queue_starts=0")
    whole = hosted(tmp_path / "whole", name, *overrides).folder
    # 6 steps an epoch: step 10 is in the second.
    command = [sys.executable, "-c", DIES, str(ROOT), str(tmp_path / "killed")]
    killed = subprocess.run([*command, name, *overrides], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    unfinished = RunFolder(next((tmp_path / "killed" / "solo" / name).iterdir()))
    assert unfinished.last.exists()
    resumed = hosted(tmp_path / "killed", name, *overrides).folder
    assert resumed.path == unfinished.path
    assert_same_weights(load_file(resumed.backbone), load_file(whole.backbone))


def test_checkpoints_that_hold_their_configuration_are_read(tmp_path):
    held = {"state_dict": {"w": torch.ones(1)}, "hyper_parameters": OmegaConf.create({"a": [1]})}
    torch.save(held, tmp_path / "old.ckpt")
    with torch.serialization.safe_globals(solo_learn.CONFIGURATION_CLASSES):
        assert torch.load(tmp_path / "old.ckpt", weights_only=True)["state_dict"]["w"] == 1
