"""What tests with solo-learn share: its scripts, its registry, methods on both hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.integrations import solo_learn
from solo_ldm.methods import find_method
from solo_ldm.run.record import Outcome
from tests.support import ROOT
from tests.support.toy import toy_config

# Of every module that needs solo-learn.
WITH_SOLO_LEARN = [
    pytest.mark.solo_learn,
    pytest.mark.usefixtures("importable"),
    # solo-learn uses what torch, timm and logging are about to drop.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


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


def registry() -> tuple[dict[str, Any], dict[str, Any]]:
    modules = solo_learn._modules()
    return modules["solo.methods"].METHODS, modules["solo.methods.base"].BaseMethod._BACKBONES


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
