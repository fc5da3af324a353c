"""solo-learn's scripts with our methods; run with SOLO_LEARN=CHECKOUT pytest -m solo_learn."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from safetensors.torch import load_file

from solo_ldm.backbones import create_backbone
from solo_ldm.commands.knn import knn
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.integrations import solo_learn
from solo_ldm.weights.pretrained import load_pretrained
from tests.support.methods.solo_learn import (
    SMALL,
    WITH_SOLO_LEARN,
    assert_same_weights,
    backbone_of,
    linear_there,
    pretrain_there,
    run_script,
)
from tests.support.toy import toy_config

pytestmark = WITH_SOLO_LEARN


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
