"""The command line: one clear line for bad input, exit code 2, nothing overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image

import solo_ldm.commands.pretrain
import solo_ldm.configs
from solo_ldm import commands
from solo_ldm.cli import main, run_command
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data import DataConfig
from solo_ldm.data.datasets.registry import DATASETS
from solo_ldm.data.module import ImageDataModule
from solo_ldm.methods import find_method
from solo_ldm.run.configuration import complete
from tests.support import ROOT
from tests.support.toy import toy_config

PACKAGED = Path(solo_ldm.configs.__file__).parent

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

SMALL = [
    "max_epochs=1",
    "data.num_workers=0",
    "data.fraction=0.2",
    "optimizer.batch_size=64",
    "method_kwargs.proj_hidden_dim=16",
    "method_kwargs.proj_output_dim=8",
    "evaluation.protocols=[]",
    "evaluation.report=false",
]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail; return its one line."""
    with pytest.raises(SystemExit) as caught:
        run_command("pretrain", list(arguments))
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config-name", "gausprob"], "gausprob"),
        (["optimizer.lrr=1"], "unknown key optimizer.lrr: did you mean optimizer.lr?"),
        (["+optimizer.lrr=1"], "unknown key optimizer.lrr: did you mean optimizer.lr?"),
        (["method_kwargs.entropi=kernel"], "did you mean entropy?"),
        (["+method_kwargs.num_neighbors=2"], "did you mean num_neighbours?"),
        (["method_kwargs.entropy=kernal"], "did you mean kernel?"),
        (["method_kwargs.over=both"], "joint, marginal, pooled or cross"),
        (["method_kwargs.proj_hidden_dim=null"], "missing key method_kwargs.proj_hidden_dim"),
        (["optimizer.lr=fast"], "optimizer.lr"),
        (["data=cifra10"], "cifra10"),
        (["data=cifar10", "data.train_path=/nowhere"], "/nowhere"),
        (["data=custom", "data.train_path=/nowhere"], "/nowhere"),
        (["data=custom"], "data.train_path"),
        (
            ["optimizer.batch_size=3", "method_kwargs.entropy=neighbour"],
            "at least 4 for entropy=neighbour",
        ),
        (["optimizer.batch_size=4000"], "optimizer.batch_size"),
        (["optimizer.name=adamm"], "adamm"),
        (["scheduler.name=cosine"], "warmup_cosine"),
        (["backbone.name=resnet81"], "resnet18"),
        (["resume_from_checkpoint=nowhere.ckpt"], "got nowhere.ckpt"),
        (["method=gausprob"], "did you mean gaussprob?"),
        (["+method_kwargs.loss.type=dual_samples"], "did you mean dual_sample?"),
        (["augmentations.0.rrc.crop_min_scale=2"], "crop_min_scale"),
        (["precision=12"], "precision"),
        (["max_epochs=0"], "max_epochs"),
        (["evaluation.protocols=[knn-21]"], "knn-20"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_no_file(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    if "--config-name" not in arguments:
        arguments = ["--config-name", "gaussprob", *arguments]
    assert message in refusal(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["auto", "torchvision"])
def test_an_unreadable_image_among_good_ones_is_skipped_named_and_counted(capsys, tmp_path, form):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(80):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number:03}.jpg")
    broken = images / "040.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    main(
        [
            *("pretrain", "--config-name", "gaussprob", "data=custom", f"data.train_path={images}"),
            *(f"checkpoint.dir={tmp_path / 'runs'}", "backbone.name=convnet_small"),
            *("augmentations=cifar", *SMALL, "data.fraction=-1", f"data.format={form}"),
            "optimizer.batch_size=40",
        ]
    )
    shown = capsys.readouterr().out
    assert "1 image could not be read" in shown
    assert str(broken) in shown
    (results,) = (tmp_path / "runs").rglob("results.json")
    assert json.loads(results.read_text())["unreadable_images"] == {
        "train": {"count": 1, "files": [str(broken)]}
    }


def test_a_checkpoint_of_another_architecture_is_refused(capsys, tmp_path):
    outcome = pretrain(toy_config(tmp_path / "runs"))
    assert outcome is not None
    before = {path: path.read_bytes() for path in outcome.folder.path.rglob("*") if path.is_file()}
    capsys.readouterr()
    message = refusal(
        capsys,
        *("--config-name", "gaussprob", *SMALL, f"checkpoint.dir={tmp_path / 'other'}"),
        f"resume_from_checkpoint={outcome.folder.last}",
    )
    assert "another architecture" in message
    assert not (tmp_path / "other").exists()
    assert before == {path: path.read_bytes() for path in before}


def test_a_file_that_is_no_checkpoint_is_refused(capsys, tmp_path):
    path = tmp_path / "garbage.ckpt"
    path.write_bytes(b"garbage")
    message = refusal(capsys, "--config-name", "gaussprob", f"resume_from_checkpoint={path}")
    assert "cannot be read as a checkpoint" in message


def test_own_configs_build_on_the_packaged_groups(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "small.yaml").write_text(
        "defaults:\n  - sphereprob\n  - _self_\nmethod_kwargs:\n  over: pooled\n"
    )
    monkeypatch.chdir(tmp_path)
    run_command("pretrain", ["--config-path", "mine", "--config-name", "small.yaml", *SMALL])
    assert "kernel entropy, pooled, on the sphere" in capsys.readouterr().out
    assert list((tmp_path / "trained_models" / "sphereprob").iterdir())


def test_the_installed_command_and_the_script_do_the_same(tmp_path, capsys):
    arguments = ["--config-name", "gaussprob.yaml", "--cfg", "job"]
    script = subprocess.run(
        [sys.executable, str(ROOT / "main_pretrain.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    main(["pretrain", *arguments])
    assert capsys.readouterr().out == script.stdout
    assert "method: gaussprob" in script.stdout


def test_a_command_without_a_config_says_which_there_are(capsys):
    line = refusal(capsys, "max_epochs=3")
    names = line.partition("--config-name: ")[2].split(", ")
    assert {"gaussprob", "sphereprob", "simclr", "lightly/dino"} <= set(names)
    assert not {"knn", "ica", "host"} & set(names)


def test_helper_processes_of_a_distributed_run_know_the_command(monkeypatch):
    """Lightning starts them with the arguments that Hydra saw, which lack the command."""
    seen = []
    monkeypatch.setattr(commands.pretrain, "main", seen.append)
    monkeypatch.delenv("SOLO_LDM_COMMAND", raising=False)
    main(["pretrain", "--config-name", "gaussprob"])
    monkeypatch.setenv("LOCAL_RANK", "1")
    main(["--config-name", "gaussprob"])
    main(["pretrain", "--config-name", "gaussprob"])
    assert seen == [["--config-name", "gaussprob"]] * 3
    monkeypatch.delenv("SOLO_LDM_COMMAND")


def test_unknown_command_is_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["pretrian"])
    assert caught.value.code == 2
    assert ", latents: did you mean pretrain?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code
    assert capsys.readouterr().out.startswith("solo-ldm 0.")


PRIMARY = [path.stem for path in PACKAGED.glob("*prob.yaml")]
DATA = [name for name in DATASETS if name != "image_folder"]  # which is another name of custom


# Each data set with one method, each method with some data set.
@pytest.mark.parametrize(("name", "data"), list(zip(cycle(PRIMARY), DATA, strict=False)))
def test_every_packaged_yaml_instantiates(name, data):
    overrides = [f"data={data}", "data.train_path=somewhere"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = complete(compose(name, overrides=overrides))
    assert cfg.method == name
    assert cfg.data.dataset == data
    module = ImageDataModule(DataConfig(**cfg.data), cfg.augmentations, cfg.optimizer.batch_size)
    for key in ("num_large_crops", "num_small_crops", "image_size"):
        cfg.data[key] = getattr(module, key)
    cfg.data.num_classes = 10
    images = torch.randn(2, 3, module.image_size, module.image_size)
    assert torch.isfinite(find_method(name)(cfg)(images)["z"]).all()
