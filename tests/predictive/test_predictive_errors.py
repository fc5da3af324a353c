"""Configurations of the predictive commands: right ones pass, wrong ones are one clear line."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import OmegaConf

import predictive.configs
from predictive.configuration import complete_predictive
from predictive.data.registry import DATASETS
from predictive.encoder import Encoder
from predictive.objective import PredictiveObjective
from predictive.predictors import PREDICTORS
from solo_ldm.cli import main
from solo_ldm.run.configuration import defaults
from tests.predictive.commands.test_decode_command import write_recording
from tests.support import ROOT

PACKAGED = Path(predictive.configs.__file__).parent
OWN = ROOT / "scripts" / "predictive"

# --- what is packaged ----------------------------------------------------------------------------


FILES = sorted([*PACKAGED.glob("*.yaml"), *OWN.glob("*.yaml")])


@pytest.mark.parametrize("file", [f for f in FILES if f.stem != "host"], ids=lambda f: f.stem)
def test_every_packaged_config_is_complete(file):
    recorded = "data: recording" in file.read_text() or file.parent == OWN
    overrides = ["data.path=x"] if recorded else []
    if file.parent == OWN:
        overrides.append("hydra.searchpath=[pkg://predictive.configs]")
        where = initialize_config_dir(str(OWN), version_base="1.3")
    else:
        where = initialize_config_module("predictive.configs", version_base="1.3")
    with where:
        cfg = complete_predictive(compose(file.stem, overrides=overrides))
    assert cfg.name.startswith(file.stem.split("_system")[0])
    assert not OmegaConf.missing_keys(cfg)


def test_the_command_names_every_packaged_config(capsys):
    message = refusal(capsys)
    names = {path.stem for path in PACKAGED.glob("*.yaml")} - {"host"}
    assert {name for name in names if name not in message} == set()


def parts() -> list[tuple[str, dict[str, Any], Any, set[str]]]:
    """Return what a config gives to a builder, the builder, and what it does not take from it."""

    def read(path: Path) -> dict[str, Any]:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        return content

    host: Any = OmegaConf.to_container(defaults(package="predictive.configs"))
    standardise = {key: value for key, value in host["encoder"].items() if key != "standardise"}
    found: list[tuple[str, dict[str, Any], Any, set[str]]] = [
        ("encoder", standardise, Encoder, {"input_dim", "latent_dim"}),
        ("objective", host["objective"], PredictiveObjective, set()),
    ]
    for path in sorted((PACKAGED / "data").glob("*.yaml")):
        settings = read(path)
        found.append((path.stem, settings, DATASETS[settings.pop("dataset")], {"seed"}))
    for path in sorted((PACKAGED / "predictor").glob("*.yaml")):
        found.append((path.stem, read(path), PREDICTORS[path.stem], {"input_dim"}))
    return found


PARTS = parts()


@pytest.mark.parametrize("part", PARTS, ids=[part[0] for part in PARTS])
def test_a_config_lists_every_argument_of_what_it_builds_with_its_default(part):
    _, settings, build, besides = part
    arguments = {
        key: parameter.default
        for key, parameter in inspect.signature(build).parameters.items()
        if key not in besides
    }
    assert list(settings) == list(arguments)
    for key, default in arguments.items():
        if default is inspect.Parameter.empty:
            assert settings[key] == "???", key
        else:
            expected = list(default) if isinstance(default, tuple) else default
            assert settings[key] == expected, key
            assert isinstance(settings[key], bool) == isinstance(expected, bool), key


def test_every_data_set_and_predictor_has_a_config():
    assert {path.stem for path in (PACKAGED / "data").glob("*.yaml")} == set(DATASETS)
    assert {path.stem for path in (PACKAGED / "predictor").glob("*.yaml")} == set(PREDICTORS)


def test_the_suite_finds_the_commands_by_their_entry_points():
    found = {point.name: point.load() for point in entry_points(group="solo_ldm.commands")}
    assert found["predictive"] is predictive_command
    assert found["decode"] is decode_command


# --- what is wrong -------------------------------------------------------------------------------


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, command="predictive") -> str:
    """Run a command that must fail; return its one line."""
    with pytest.raises(SystemExit) as caught:
        main([command, *arguments])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


SMALL = (
    "accelerator=cpu",
    "max_epochs=1",
    "evaluation.report=false",
    "evaluation.kinds=[linear]",
)
FRAMES = (
    "data.num_train=32",
    "data.num_held_out=8",
    "data.num_steps=12",
    "data.frame_size=4",
    "optimizer.batch_size=8",
    *SMALL,
)
SPIKES = (
    "data.duration_seconds=60",
    "data.num_cells=6",
    "data.block_seconds=5",
    "data.folds=2",
    "data.window=40",
    "optimizer.batch_size=4",
    *SMALL,
)
RECORDING = ("data.block_seconds=5", "data.folds=2", "data.window=20", *SMALL)

MISSPELT = [
    ("{}data.num_trian=3", "num_train"),
    ("{}encoder.hiden_dim=3", "hidden_dim"),
    ("{}predictor.latent_dims=3", "latent_dim"),
    ("{}objective.entropi=kernel", "entropy"),
    ("{}decoders.position.sorce=states", "source"),
    ("{}optimizer.batchsize=3", "batch_size"),
    ("{}optimizer.multipliers.encodr=3", "encoder"),
    ("{}evaluation.kind=[linear]", "kinds"),
    ("{}sed=3", "seed"),
]


@pytest.mark.parametrize("plus", ["", "+"])
@pytest.mark.parametrize(("override", "nearest"), MISSPELT)
def test_a_misspelt_key_names_the_nearest(capsys, tmp_path, monkeypatch, override, nearest, plus):
    monkeypatch.chdir(tmp_path)
    override = override.format(plus)
    message = refusal(capsys, "--config-name", "figure8", *FRAMES, override)
    assert f"unknown key {override.strip('+').partition('=')[0]}" in message
    assert "did you mean" in message
    assert f"{nearest}?" in message
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_the_yaml_leaves_at_its_default_can_be_given(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = ("decoders.position.lr=0.1", "optimizer.multipliers.head=3.0", "--cfg", "job")
    main(["predictive", "--config-name", "figure8", *FRAMES, *keys])
    printed = capsys.readouterr().out
    assert "lr: 0.1" in printed
    assert "head: 3.0" in printed


WRONG = [
    (["data.num_train=many"], "data.num_train expects a whole number, got 'many'"),
    (["data.num_train=3.5"], "data.num_train expects a whole number, got 3.5"),
    (["data.random_phase=1"], "data.random_phase expects true or false"),
    (["encoder.hidden_dim=big"], "encoder.hidden_dim expects a whole number"),
    (["encoder.standardise=maybe"], "encoder.standardise expects true or false"),
    (["predictor.max_radius=big"], "predictor.max_radius expects a number"),
    (["objective.weight=big"], "objective.weight expects a number"),
    (["+decoders.position.lr=fast"], "decoders.position.lr expects a number"),
    (["decoders.position=states"], "decoders.position expects a mapping"),
    (["optimizer.batch_size=big"], "optimizer.batch_size"),
    (["optimizer.lr=fast"], "optimizer.lr"),
    (["optimizer.lr=-1"], "optimizer.lr"),
    (["seed=x"], "seed"),
    (["seed=-1"], "seed"),
    (["data.window=long"], "data.window expects a whole number of bins or null"),
    (["data.window=6", "data.stride=0"], "data.stride expects a whole number of bins"),
    (["data.dataset=moving_dots"], "moving_dot, nonlinear_system"),
    (["data=moving_dots"], "moving_dot nonlinear_system"),
    (["predictor=recurent"], "kalman recurrent"),
    (["method=kalmann"], "kalman, recurrent; got 'kalmann'"),
    (["method=recurrent"], "predictor.state_dim is a setting of kalman"),
    (["objective.entropy=kernal"], "stop_gradient, neighbour, kernel"),
    (["objective.over=both"], "marginal, joint; got 'both'"),
    (["objective.entropy=kernel", "objective.ridge=0.1"], "ridge is a setting of logdet"),
    (["objective.num_neighbours=3"], "num_neighbours is a setting of neighbour"),
    (["data.window=13"], "a window of 13 bins is longer than the longest"),
    (["optimizer.batch_size=33"], "32 training windows do not fill a batch of 33"),
    (["decoders.position.source=stats"], "latents, states, predictions"),
    (["+decoders.position.target=place"], "decoders.position.target=place: the data has position"),
    (["+decoders.position.kind=deep"], "decoders.position.kind must be linear or mlp"),
    (["evaluation.targets=[place]"], "evaluation.targets names place: the data has position"),
    (["evaluation.identify=sources"], "evaluation.identify=sources: the data has position"),
    (["evaluation.kinds=[deep]"], "evaluation.kinds takes linear and mlp"),
    (["evaluation.identify=position", "data.num_held_out=1"], "identify"),
    (["evaluation.compare_gradients_every=-1"], "compare_gradients_every"),
    (["objective.first_step=12"], "first_step"),
    (["data.motion=figure9"], "figure8, circular, square; got 'figure9'"),
    (["encoder.activation=rel"], "relu, gelu, elu, tanh; got 'rel'"),
    (["predictor.observation_noise=loud"], "constant, input, input_variance, state; got 'loud'"),
    (["optimizer.name=adamm"], "lars, sgd, adam, adamw; got 'adamm'"),
    (["+optimizer.kwargs.betaz=[0.9,0.99]"], "betaz"),
    (["scheduler.name=cosine"], "warmup_cosine, step, none"),
    (["max_epochs=0"], "max_epochs must be at least 1"),
    (["precision=12"], "precision"),
    (["resume_from_checkpoint=nowhere.ckpt"], "no checkpoint at nowhere.ckpt"),
]


@pytest.mark.parametrize(
    ("overrides", "message"), WRONG, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_a_wrong_setting_is_one_line_and_leaves_no_file(
    capsys, tmp_path, monkeypatch, overrides, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(capsys, "--config-name", "figure8", *FRAMES, *overrides)
    assert list(tmp_path.iterdir()) == []


def test_a_predictor_without_the_variable_a_decoder_reads_says_what_it_has(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    source = "decoders.position.source=observation_noise"
    message = refusal(capsys, "--config-name", "nonlinear_system", *FRAMES, source)
    assert "this predictor has none; it has latents" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["predictive", "decode"])
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.window=2000"], "a window of 2000 bins is longer"),
        (["optimizer.batch_size=4000"], "do not fill a batch of 4000"),
        (["data.folds=1"], "folds must be a whole number from 2"),
        (["data.folds=x"], "data.folds expects a whole number"),
        (["data.min_speed=9"], "never faster than min_speed=9"),
        (["evaluation.targets=[place]"], "the data has position, direction, speed"),
        (["evaluation.smoothing_seconds=[-1]"], "smoothing_seconds"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_place_cells_that_cannot_be_trained_on_are_one_line(
    capsys, tmp_path, monkeypatch, command, overrides, message
):
    monkeypatch.chdir(tmp_path)
    given = ("--config-name", "place_cells", *SPIKES, *overrides)
    assert message in refusal(capsys, *given, command=command)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("figure8", FRAMES, "decode needs data in folds, data.dataset=moving_dot"),
        ("recording", (*RECORDING, "data.path=x", "data.split=contiguous"), "data.split=blocks"),
        ("place_cells", (*SPIKES, "devices=2"), "decode takes one device, got 2"),
    ],
)
def test_decoding_without_folds_or_on_several_devices_is_one_line(
    capsys, tmp_path, monkeypatch, name, overrides, message
):
    monkeypatch.chdir(tmp_path)
    given = ("--config-name", name, *overrides)
    assert message in refusal(capsys, *given, command="decode")
    assert list(tmp_path.iterdir()) == []


TIMES = (np.arange(2400) + 0.5) * 0.025
RECORDINGS = [
    ({"position": np.full((2400, 1), np.nan)}, [], "all 2400 positions are NaN"),
    ({"counts": np.zeros((2400, 12), int)}, [], "all 12 cells are silent"),
    ({"position_times": TIMES + 1000.0}, [], "the clocks do not overlap: spikes run from"),
    ({"position": np.full((2400, 1), 0.5)}, [], "no running"),
    ({}, ["data.min_speed=50"], "no running for 1 s at min_speed=50"),
    ({}, ["data.window=900"], "a window of 900 bins is longer"),
    ({}, ["optimizer.batch_size=5000"], "do not fill a batch of 5000"),
    ({}, ["data.format=npy"], "format must be auto or one of"),
    ({}, ["data.split=block"], 'split must be "blocks" or "contiguous"'),
    ({}, ["data.path=nowhere.npz"], "no file nowhere.npz"),
    ({}, ["data.path=nowhere/*.npz"], "no file fits nowhere/*.npz"),
    ({}, ["data.path=3"], "data.path expects a text or"),
]


@pytest.mark.parametrize(("changes", "overrides", "message"), RECORDINGS)
def test_a_recording_that_cannot_be_used_is_one_line(
    capsys, tmp_path, monkeypatch, changes, overrides, message
):
    file = write_recording(tmp_path / "file.npz", **changes)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    given = ("--config-name", "recording", f"data.path={file}", *RECORDING, *overrides)
    found = refusal(capsys, *given)
    assert message in found
    assert "<class" not in found
    assert list(here.iterdir()) == []


def test_a_recording_must_be_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "missing key data.path" in refusal(capsys, "--config-name", "recording")
    assert "figure9" in refusal(capsys, "--config-name", "figure9")
    assert "give --config-name: circular, " in refusal(capsys, command="decode")
    assert list(tmp_path.iterdir()) == []
