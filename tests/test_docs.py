"""The documentation is true: every command and block of its pages runs, every module imports."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import predictive
import solo_ldm
from predictive.estimator import settings
from solo_ldm.cli import main
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.entropy import ENTROPIES
from tests.support import ROOT
from tests.support.toy import toy_config

DOCS = ROOT / "docs"
# Of these pages all runs here. What is marked sh in place of bash needs what is not here: a GPU,
# data of one's own, solo-learn. Commands of COMPOSED are composed. Other tests run the code of
# estimator.md (tests/predictive/estimator), python.md (tests/solo_ldm/commands/pretrain) and of
# examples/ (tests/test_examples.py).
PAGES = [
    ROOT / "README.md",
    *(DOCS / name for name in ("install.md", "first-run.md", "reference/api/objective.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
    *sorted((DOCS / "concepts").glob("*.md")),
]
COMPOSED = {"clusters.md": 10, "two-cores.md": 1, "shards.md": 2}
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.M | re.S)
]
# Once each, wherever they stand.
COMMANDS = dict.fromkeys(
    line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()
)
SNIPPETS = dict.fromkeys(text for kind, text in BLOCKS if kind == "python")

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

TRAINING_ALONE = ["evaluation.protocols=[]", "evaluation.report=false"]

# What makes a command a matter of seconds: fewer steps on fewer, smaller images.
SECONDS = [
    "max_epochs=1",
    "optimizer.batch_size=64",
    *TRAINING_ALONE,
    "data.num_workers=0",
    "data.fraction=0.2",
    "++backbone.kwargs.width=8",
    "method_kwargs.proj_hidden_dim=16",
    "method_kwargs.proj_output_dim=8",
]

# The same for the predictive commands, whatever their data.
SHORT = ["max_epochs=1", "optimizer.batch_size=2", "evaluation.report=false"]
SHORT_DATA = {
    "figure8": ["data.num_train=8", "data.num_held_out=4", "data.num_steps=12"],
    "nonlinear_system": ["data.num_train=8", "data.num_held_out=4", "evaluation.identify=null"],
    "place_cells": ["data.duration_seconds=120", "data.folds=2", "data.num_cells=6"],
    "recording": ["data.folds=2", "predictor.latent_dim=4"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> str:
    """The folder of a run, in place of trained_models/gaussprob/RUN."""
    outcome = pretrain(toy_config(tmp_path_factory.mktemp("trained")))
    assert outcome is not None
    return str(outcome.folder.path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_pages_runs(command, tmp_path, monkeypatch, capsys, trained):
    words = shlex.split(command.replace("trained_models/gaussprob/RUN", trained))
    words = words[words.index("run") + 1 :]
    if words[0] == "pytest":
        return  # this is it
    if words[0] == "python":
        assert (ROOT / words[1]).is_file()
        command = words[1].removeprefix("main_").removesuffix(".py")
        words = ["solo-ldm", command, *words[2:]]
    assert words[0] == "solo-ldm"
    monkeypatch.chdir(tmp_path)
    if words[1] == "export":
        main(words[1:])
        assert (tmp_path / words[-1]).is_file()
        return
    small = []
    if words[1] in ("predictive", "decode"):
        config = words[words.index("--config-name") + 1].removesuffix(".yaml")
        small = [*SHORT, *SHORT_DATA[config], "evaluation.kinds=[linear]"]
        if config == "recording":
            write_recording(tmp_path / "my_recording.npz")
    if words[1] == "compare":
        # Two methods, one seed: tests/solo_ldm/commands/compare tries what the command names.
        few = ["data=digits", *(one for one in SECONDS if one not in TRAINING_ALONE)]
        small = ["methods=[gaussprob,simclr]", "seeds=[0]", "jobs=1", f"overrides={few}"]
    if words[1] == "theorem":
        small = ["steps=5", "seeds=[0]"]
    if words[1] == "linear" and "protocol=linear-features" not in words:
        small = ["max_epochs=1"]
    if words[1] == "diagnostics":
        small = ["num_images=60", "num_views=2", "num_jacobian_images=1"]
    if words[1] == "pretrain":
        small = SECONDS
        for folder in ("scripts", "zoo"):
            (tmp_path / folder).symlink_to(ROOT / folder)
        if any("scripts/" in word for word in words):
            # Needs CIFAR and a GPU: that it composes and fits is shown, not that it trains.
            main([*words[1:], "--cfg", "job"])
            assert "proj_output_dim: 2048" in capsys.readouterr().out
            return
        if "resume_from_checkpoint=zoo:gaussprob-digits" in words:
            # One epoch more than it was trained for.
            main([*words[1:-1], "max_epochs=81", *TRAINING_ALONE])
            assert "next:" in capsys.readouterr().out
            return
        if "data=image_folder" in words:
            write_images(tmp_path / "my_images")
            small = [*SECONDS, "data.fraction=-1", "augmentations=cifar"]
            small.append("backbone.name=convnet_small")
    main([*words[1:], *small])
    assert "next:" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMPOSED)
def test_every_command_for_machines_and_data_that_are_not_here_composes(name, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (DOCS / name).read_text().replace("\\\n", " ")
    commands = re.findall(r"^.*(?:solo-ldm|solo_ldm\.cli) ((?:pretrain|compare) .+)$", page, re.M)
    assert len(commands) >= COMPOSED[name]
    for command in commands:
        words = shlex.split(command.strip("`.").replace(" -m seed=0,1,2", " seed=2"), comments=True)
        launcher = re.search("hydra/launcher=([a-z]+)", command)
        if launcher:
            pytest.importorskip(f"hydra_plugins.hydra_{launcher.group(1)}_launcher")
        main([*words, *([] if "--cfg" in words else ["--cfg", "all"])])
        assert not launcher or launcher.group(1) in capsys.readouterr().out


def write_images(folder: Path) -> None:
    """Write 70 flat, unlabelled images."""
    folder.mkdir()
    for number in range(70):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def write_recording(path: Path) -> None:
    """Write two minutes of an animal that runs up and down while eight cells fire at places."""
    times = np.arange(0.0, 120.0, 0.025)
    position = 0.5 - 0.5 * np.cos(2 * np.pi * times / 8.0)
    rates = np.exp(-((position[:, None] - np.linspace(0, 1, 8)) ** 2) / 0.02)
    counts = np.random.default_rng(0).poisson(rates)
    np.savez(path, counts=counts, times=times, position=position)


# What makes a snippet that trains a matter of seconds.
SMALLER = {
    "epochs=80": 'epochs=1, backbone={"name": "convnet_small"}, augmentations="cifar", quiet=True, '
    'optimizer={"batch_size": 32}',
    "trained_models/gaussprob/RUN": "RUN",
}


@pytest.mark.filterwarnings("ignore:.*few.*:UserWarning")
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_of_the_pages_runs(snippet, tmp_path, monkeypatch, trained):
    write_images(tmp_path / "my_images")
    write_recording(tmp_path / "my_recording.npz")
    (tmp_path / "RUN").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    for name in ("_STEPS", "_FEWEST_EPOCHS", "_MOST_EPOCHS"):  # of the estimators: an epoch
        monkeypatch.setattr(settings, name, 1)
    for whole, small in SMALLER.items():
        snippet = snippet.replace(whole, small)
    with mock.patch.dict(ENTROPIES):  # where one is added
        exec(compile(snippet, "a page", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize(
    "name", re.findall(r"`(test_\w+)`", (ROOT / "docs/deviations.md").read_text())
)
def test_every_test_that_the_deviations_name_exists(name):
    assert any(f"def {name}(" in path.read_text() for path in (ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize(
    "name",
    [
        module.name
        for package in (solo_ldm, predictive)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ],
)
def test_every_module_imports_and_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


NO_RUNS = {"paper", "recipes"}  # what others share; what scripts/zoo/build.py reads


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "scripts").rglob("*.yaml"))
        if "predictive" not in path.parts and path.stem not in NO_RUNS
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_every_script_yaml_fits_the_schema(path):
    from hydra import compose, initialize_config_dir

    from solo_ldm.commands.compare.schema import complete_compare
    from solo_ldm.commands.linear.schema import complete_linear
    from solo_ldm.methods import find_method
    from solo_ldm.run.configuration import complete

    with initialize_config_dir(str(path.parent), version_base="1.3"):
        overrides = ["hydra.searchpath=[pkg://solo_ldm.configs]"]
        if "linear" in path.parts:
            overrides.append("pretrained_feature_extractor=timm:resnet18")
        cfg = compose(path.stem, overrides=overrides)
    if "linear" in path.parts:
        complete_linear(cfg)
    elif "compare" in path.parts:
        complete_compare(cfg)
    else:
        cfg = complete(cfg)
        find_method(cfg.method).describe(cfg)
