"""`solo-ldm decode`: a run for each fold, every bin held out once, pooled scores and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console

from predictive.commands.decode import decode as decode_folds
from predictive.commands.decode import run as folds_module
from predictive.configuration import complete_predictive
from predictive.training import build_data
from solo_ldm.cli import main
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome
from tests.support.predictive.runs import config, die_at, run
from tests.support.predictive.spikes import write_recording

FOLDS = 3
CELLS = (
    "data.bin_seconds=0.025",
    "data.num_cells=20",
    "data.duration_seconds=90",
    "data.block_seconds=5",
    f"data.folds={FOLDS}",
    "data.window=40",
    "data.stride=8",
    "optimizer.batch_size=8",
    "max_epochs=3",
    "evaluation.kinds=[linear]",
    "evaluation.smoothing_seconds=[0.25]",
    "evaluation.targets=[position]",
)


def cells(folder: Path, *overrides: str) -> DictConfig:
    return config(folder, *CELLS, *overrides, name="place_cells")


def decode(cfg: DictConfig) -> Outcome:
    outcome = decode_folds(cfg, Console(quiet=True))
    assert outcome is not None
    return outcome


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("decoded")
    return folder, decode(cells(folder))


def test_each_fold_is_an_ordinary_run_of_its_own(decoded):
    folder, outcome = decoded
    runs = [RunFolder(Path(path)) for path in outcome.results["folds"]]
    assert len({one.path for one in runs}) == FOLDS
    assert {one.path for one in runs} == set((folder / "kalman").iterdir())
    for number, one in enumerate(runs):
        args = json.loads(one.args.read_text())
        assert args["data"]["fold"] == number
        assert one.last.exists()
        assert len(one.metrics.read_text().splitlines()) == 1 + args["max_epochs"]
        results = json.loads(one.results.read_text())
        assert results["settings"]["data"]["fold"] == number
        # What is said of a fold is what its run says.
        per_fold = outcome.results["results"]["position"]["per_fold"][number]
        assert results["results"]["decoding"]["position"] == per_fold


def test_a_fold_is_what_the_predictive_command_trains(decoded, tmp_path):
    _, outcome = decoded
    alone = run(tmp_path, *CELLS, "data.fold=1", name="place_cells")
    fold = RunFolder(Path(outcome.results["folds"][1]))
    assert alone.folder.path.name == fold.path.name
    assert alone.folder.metrics.read_text() == fold.metrics.read_text()
    scores = alone.results["results"]["decoding"]["position"]
    assert scores == outcome.results["results"]["position"]["per_fold"][1]


def test_the_folder_of_decode_holds_pooled_scores_and_pictures(decoded):
    folder, outcome = decoded
    assert outcome.folder.path.parent == folder / "decode"
    names = {path.name for path in outcome.folder.path.iterdir()}
    assert names == {"args.json", "results.json", "scores.png", "position.png"}
    for picture in ("scores.png", "position.png"):
        assert (outcome.folder.path / picture).stat().st_size > 5_000
    results = json.loads(outcome.folder.results.read_text())
    assert {"seed", "hardware", "versions", "commit", "protocol", "data"} <= results.keys()
    found = results["results"]["position"]
    assert [s["features"] for s in found["scores"]] == [
        "latent state",
        "latents",
        "spikes",
        "spikes, 0.25 s mean",
        "untrained state",
    ]
    for i, score in enumerate(found["scores"]):
        parts = [fold[i] for fold in found["per_fold"]]
        assert score["r2_per_fold"] == [part["r2"] for part in parts]
        assert score["num_test_bins"] == sum(part["num_test_bins"] for part in parts)
        assert min(score["r2_per_fold"]) - 0.1 < score["r2"] < max(score["r2_per_fold"]) + 0.1
        assert score["null_mean"] <= score["null_high"] < 0.3
        assert score["median_absolute_error"] < 1.6
    assert 0.85 < found["coverage"] <= 1.0
    assert len(found["coverage_per_fold"]) == FOLDS


def test_the_latent_state_holds_more_of_the_position_than_the_spikes_of_a_bin(decoded):
    _, outcome = decoded
    scores = {s["features"]: s for s in outcome.results["results"]["position"]["scores"]}
    state = scores["latent state"]
    assert state["r2"] > scores["spikes"]["r2"] + 0.1
    assert state["r2"] > state["null_high"] + 0.3


def test_each_bin_is_held_out_exactly_once(tmp_path):
    held, everything = [], []
    for fold in range(FOLDS):
        data = build_data(complete_predictive(cells(tmp_path, f"data.fold={fold}")))
        times = [part.seconds[part.mask] for part in (data.held_out, data.train)]
        held.append(times[0])
        everything.append(torch.cat(times).sort().values)
    assert all(torch.equal(times, everything[0]) for times in everything)
    together = torch.cat(held).sort().values
    assert torch.equal(together, everything[0])
    assert (together.diff() > 0.01).all()


def test_a_second_call_trains_nothing_and_finds_the_same(decoded, monkeypatch):
    folder, first = decoded
    before = contents(folder)

    def refuse(*arguments, **settings):
        raise AssertionError("trained again")

    monkeypatch.setattr(folds_module, "train", refuse)
    # Which fold the command line names does not matter to decode.
    second = decode(cells(folder, "data.fold=2"))
    assert second.folder.path != first.folder.path
    assert second.folder.path.parent == first.folder.path.parent
    assert second.results["folds"] == first.results["folds"]
    assert second.results["results"] == first.results["results"]
    after = contents(folder)
    assert {path: after[path] for path in before} == before


def test_another_seed_or_number_of_folds_trains_anew(decoded, monkeypatch):
    folder, _ = decoded
    seen = []

    def stop(cfg, *arguments):
        seen.append(cfg)
        return None

    monkeypatch.setattr(folds_module, "train", stop)
    for change in ("seed=6", "data.folds=2", "max_epochs=4", "objective.weight=0.5"):
        assert decode_folds(cells(folder, change), Console(quiet=True)) is None
    assert len(seen) == 4


def test_an_interrupted_decode_goes_on_where_it_was(decoded, tmp_path):
    _, whole = decoded
    with pytest.MonkeyPatch.context() as monkeypatch:
        trained = folds_module.train

        def second_fails(cfg, *arguments):
            if cfg.data.fold == 1:
                die_at(monkeypatch, 12)
            return trained(cfg, *arguments)

        monkeypatch.setattr(folds_module, "train", second_fails)
        with pytest.raises(InterruptedError):
            decode(cells(tmp_path))
    first = next(p for p in (tmp_path / "kalman").iterdir() if (p / "results.json").exists())
    before = contents(first)
    outcome = decode(cells(tmp_path))
    assert contents(first) == before
    assert len(list((tmp_path / "kalman").iterdir())) == FOLDS
    assert outcome.results["results"] == whole.results["results"]


# --- a recording ---------------------------------------------------------------------------------


RECORDING = (
    "data.bin_seconds=0.025",
    "data.block_seconds=5",
    "data.folds=2",
    "data.window=40",
    "data.stride=8",
    "optimizer.batch_size=8",
    "max_epochs=2",
    "evaluation.kinds=[linear]",
    "evaluation.smoothing_seconds=[]",
    "evaluation.targets=[position]",
    "accelerator=cpu",
)


def test_the_commands_take_a_recording_of_the_user(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recording(tmp_path / "mine.npz")
    main(
        ["predictive", "--config-name", "recording", "data.path=mine.npz", "name=mine", *RECORDING]
    )
    shown = capsys.readouterr().out
    assert "mine: 12 cells" in shown
    (results,) = (tmp_path / "trained_models" / "kalman").glob("mine-*/results.json")
    scores = json.loads(results.read_text())["results"]["decoding"]["position"]
    assert scores[0]["r2"] > scores[0]["null_high"] + 0.2
    names = {path.name for path in results.parent.glob("*.png")}
    assert {"position.png", "scores.png", "space.png", "report.png", "latents.png"} <= names
    assert "frames.png" not in names

    quick = (*RECORDING, "data.path=mine.npz", "evaluation.report=false")
    main(["decode", "--config-name", "recording", *quick])
    shown = capsys.readouterr().out
    assert "position on held-out time, 2 folds" in shown
    assert "lie in the 95 % interval" in shown
    (results,) = (tmp_path / "trained_models" / "decode").rglob("results.json")
    content = json.loads(results.read_text())
    assert len(content["folds"]) == 2
    assert content["results"]["position"]["scores"][0]["r2"] > 0.3

    def count_anew(cfg, *arguments):
        anew.append(cfg.data.fold)

    anew: list[int] = []
    monkeypatch.setattr(folds_module, "train", count_anew)
    # The same counts: nothing is trained. Corrected ones: what was trained before is not used.
    main(["decode", "--config-name", "recording", *quick])
    assert capsys.readouterr().out.count("trained before") == 2
    assert not anew
    generator = np.random.default_rng(1)
    write_recording(tmp_path / "mine.npz", counts=generator.poisson(1.0, (2400, 12)))
    main(["decode", "--config-name", "recording", *quick])
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "trained before" not in shown
    assert f"was trained on other data ({tmp_path}/mine.npz" in shown
    assert anew == [0]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (slice(1000, 1200), "expected at least 1 held-out bins with a known position, got 0"),
        (slice(1195, 1210), "expected at least 20 training bins with a known position, got 5"),
        (slice(1160, 1240), "expected at least 39 calibration bins with a known position for"),
    ],
)
def test_a_recording_too_short_for_its_folds_is_refused_before_the_first_is_trained(
    tmp_path, known, message
):
    position = np.full((2400, 1), np.nan)
    position[known] = np.random.default_rng(0).normal(size=(known.stop - known.start, 1))
    path = write_recording(tmp_path / "short.npz", position=position)
    given = [f"data.path={path}", "data.running_only=false", "data.block_seconds=5"]
    given += ["data.folds=2", "optimizer.batch_size=8", "data.window=40", "data.bin_seconds=0.025"]
    folder = tmp_path / "runs"
    with pytest.raises(ValueError, match=message):
        decode(config(folder, *given, name="recording"))
    assert not folder.exists()
