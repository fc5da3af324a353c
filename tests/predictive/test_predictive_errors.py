"""Wrong configurations of the predictive commands: one clear line, and no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import predictive.configs
from solo_ldm.cli import main
from tests.support.predictive.spikes import write_recording


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
    ("data.num_trian=3", "num_train"),
    ("encoder.hiden_dim=3", "hidden_dim"),
    ("predictor.latent_dims=3", "latent_dim"),
    ("objective.entropi=kernel", "entropy"),
    ("decoders.position.sorce=states", "source"),
    ("optimizer.batchsize=3", "batch_size"),
    ("+optimizer.batchsize=3", "batch_size"),
    ("optimizer.multipliers.encodr=3", "encoder"),
    ("+optimizer.multipliers.encodr=3", "encoder"),
    ("evaluation.kind=[linear]", "kinds"),
    ("sed=3", "seed"),
]


@pytest.mark.parametrize(("override", "nearest"), MISSPELT)
def test_a_misspelt_key_names_the_nearest(capsys, tmp_path, monkeypatch, override, nearest):
    monkeypatch.chdir(tmp_path)
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
    (["data.num_train=many"], "data.num_train: expected a whole number from 1, got 'many'"),
    (["data.num_train=3.5"], "data.num_train: expected a whole number from 1, got 3.5"),
    (["data.random_phase=1"], "data.random_phase: expected true or false"),
    (["encoder.hidden_dim=big"], "encoder.hidden_dim: expected a whole number"),
    (["encoder.standardise=maybe"], "encoder.standardise: expected true or false"),
    (["predictor.max_radius=big"], "predictor.max_radius: expected a number"),
    (["objective.weight=big"], "objective.weight: expected a number"),
    (["+decoders.position.lr=fast"], "decoders.position.lr: expected a number"),
    (["decoders.position=states"], "decoders.position: expected a mapping"),
    (["optimizer.batch_size=big"], "optimizer.batch_size"),
    (["optimizer.lr=fast"], "optimizer.lr"),
    (["optimizer.lr=-1"], "optimizer.lr"),
    (["seed=x"], "seed"),
    (["seed=-1"], "seed"),
    (["data.window=long"], "data.window: expected a whole number from 2 or null"),
    (["data.window=6", "data.stride=0"], "data.stride: expected a whole number from 1 or null"),
    (["data.dataset=moving_dots"], "moving_dot, nonlinear_system"),
    (["data=moving_dots"], "data: calcium, frames, moving_dot, nonlinear_system"),
    (["predictor=recurent"], "predictor: kalman, recurrent"),
    (["method=kalmann"], "method: expected kalman or recurrent, got 'kalmann'"),
    (["method=recurrent"], "predictor.state_dim: expected no such key for method=recurrent"),
    (
        ["objective.entropy=kernal"],
        "objective.entropy: expected one of stop_gradient, kernel, logistic, neighbour",
    ),
    (["objective.over=both"], "objective.over: expected marginal or joint, got 'both'"),
    (
        ["objective.entropy=kernel", "objective.ridge=0.1"],
        "unknown key objective.entropy_kwargs.ridge",
    ),
    (
        ["objective.num_neighbours=3"],
        "objective.entropy_kwargs: expected none for entropy=stop_gradient",
    ),
    (["data.window=13"], "data.window: expected at most the 12 bins"),
    (["optimizer.batch_size=33"], "optimizer.batch_size: expected at most 32"),
    (
        ["decoders.position.source=stats"],
        "decoders.position.source: expected latents, states, predictions",
    ),
    (
        ["+decoders.position.target=place"],
        "decoders.position.target: expected one of this data's (position",
    ),
    (["+decoders.position.kind=deep"], "decoders.position.kind: expected linear or mlp"),
    (["evaluation.targets=[place]"], "evaluation.targets: expected targets of the data (position"),
    (
        ["evaluation.identify=sources"],
        "evaluation.identify: expected targets of the data (position",
    ),
    (["evaluation.kinds=[deep]"], "evaluation.kinds: expected linear or mlp"),
    (["evaluation.identify=position", "data.num_held_out=1"], "identify"),
    (["evaluation.compare_gradients_every=-1"], "compare_gradients_every"),
    (["objective.first_step=12"], "first_step"),
    (["data.motion=figure9"], "data.motion: expected figure8, circular or square, got 'figure9'"),
    (["encoder.activation=rel"], "encoder.activation: expected relu, gelu, elu or tanh, got 'rel'"),
    (
        ["predictor.observation_noise=loud"],
        "expected constant, input, input_variance or state, got 'loud'",
    ),
    (["optimizer.name=adamm"], "optimizer.name: expected lars, sgd, adam or adamw, got 'adamm'"),
    (["+optimizer.kwargs.betaz=[0.9,0.99]"], "betaz"),
    (["scheduler.name=cosine"], "scheduler.name: expected warmup_cosine, step or none"),
    (["max_epochs=0"], "max_epochs: expected a number from 1"),
    (["precision=12"], "precision"),
    (
        ["resume_from_checkpoint=nowhere.ckpt"],
        "resume_from_checkpoint: expected a path that exists",
    ),
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
    assert "expected one of this predictor's (latents" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.window=2000"], "data.window: expected at most"),
        (["optimizer.batch_size=4000"], "optimizer.batch_size: expected at most"),
        (["data.folds=1"], "data.folds: expected a whole number from 2"),
        (["data.folds=x"], "data.folds: expected a whole number from 2"),
        (["data.min_speed=9"], "min_speed: expected less than"),
        (["evaluation.targets=[place]"], "targets of the data (position, direction, speed)"),
        (["evaluation.smoothing_seconds=[-1]"], "smoothing_seconds"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_place_cells_that_cannot_be_trained_on_are_one_line(
    capsys, tmp_path, monkeypatch, overrides, message
):
    monkeypatch.chdir(tmp_path)
    given = ("--config-name", "place_cells", *SPIKES, *overrides)
    assert message in refusal(capsys, *given)
    assert message in refusal(capsys, *given, command="decode")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "figure8",
            FRAMES,
            "data.folds: expected data in folds, got none for data.dataset=moving_dot",
        ),
        ("recording", (*RECORDING, "data.path=/", "data.split=contiguous"), "data.split=blocks"),
        ("place_cells", (*SPIKES, "devices=2"), "devices: expected 1 for decode, got 2"),
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
UNCOUNTED = np.ones((2400, 12))
UNCOUNTED[7, 3] = np.nan
RECORDINGS = [
    ({"position": np.full((2400, 1), np.nan)}, [], "expected known positions, got 2400 of NaN"),
    ({"counts": np.zeros((2400, 12), int)}, [], "expected spikes, got 12 silent cells"),
    ({"position_times": TIMES + 1000.0}, [], "expected one clock for spikes and positions"),
    ({"position": np.full((2400, 1), 0.5)}, [], "expected runs of"),
    ({}, ["data.min_speed=50"], "expected runs of 1 s at data.min_speed=50"),
    ({}, ["data.window=900"], "data.window: expected at most"),
    ({}, ["optimizer.batch_size=5000"], "optimizer.batch_size: expected at most"),
    ({}, ["data.format=npy"], "data.format: expected auto, npz, mat"),
    ({}, ["data.split=block"], "data.split: expected blocks or contiguous"),
    ({}, ["data.path=nowhere.npz"], "data.path: expected a path that exists, got nowhere.npz"),
    ({}, ["data.path=nowhere/*.npz"], "expected files that match nowhere/*.npz"),
    ({}, ["data.path=3"], "data.path: expected a path that exists, got 3"),
    ({"counts": UNCOUNTED}, [], "file.npz: counts: expected numbers from 0, got nan in bin 7 of"),
    (
        {},
        ["data.bin_seconds=0.01"],
        "data.bin_seconds: expected a multiple of the bins of 0.025 s of {file}, got 0.01; set "
        "data.bin_seconds=0.025",
    ),
    (
        {},
        ["data.block_seconds=70", "data.min_speed=0"],
        "{file}: data.block_seconds=70, data.fold=0: expected sequences to train on, got none in "
        "the 60 s that are used; lower data.block_seconds or data.folds",
    ),
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
    assert message.format(file=file) in found
    assert "<class" not in found
    with pytest.raises(SystemExit):
        main(["decode", *given])
    shown = capsys.readouterr()
    assert shown.err == found + "\n"
    assert "fold 1" not in shown.out
    assert list(here.iterdir()) == []


def test_training_that_diverges_names_the_rates(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rates = ("optimizer.lr=9999", "optimizer.multipliers.filter=9999")
    found = refusal(capsys, "--config-name", "figure8", *FRAMES, *rates)
    assert "cannot be computed: process_noise: expected variances above zero" in found
    assert "lower optimizer.lr or optimizer.multipliers" in found


def test_a_recording_must_be_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "missing key data.path" in refusal(capsys, "--config-name", "recording")
    assert "figure9" in refusal(capsys, "--config-name", "figure9")
    assert "give --config-name: calcium, circular, " in refusal(capsys, command="decode")
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_every_packaged_config(capsys):
    message = refusal(capsys)
    names = {path.stem for path in Path(predictive.configs.__file__).parent.glob("*.yaml")}
    names -= {"host", "latents"}  # parts, and of a command that trains nothing
    assert {name for name in names if name not in message} == set()
