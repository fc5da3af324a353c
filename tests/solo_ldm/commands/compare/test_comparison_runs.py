"""Comparisons: what a real one leaves behind, resumption, failures, worker processes."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_ldm.commands.compare import compare, workers
from solo_ldm.commands.compare import runs as compare_runs
from solo_ldm.commands.compare.runs import Run
from solo_ldm.commands.compare.waiting import Waiting, locked, train_alone
from solo_ldm.commands.compare.workers import train_all
from solo_ldm.run.callbacks.finite import NonFiniteLossError, StopAtNonFinite
from solo_ldm.run.callbacks.seed import EpochSeed
from tests.support.processes import run_child
from tests.support.studies.dying_worker import die_at_seed_1, die_before_the_worker, prepare

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


SMALL = [
    "data=digits",
    "max_epochs=1",
    "optimizer.batch_size=64",
    "method_kwargs.proj_hidden_dim=16",
    "method_kwargs.proj_output_dim=8",
    "+backbone.kwargs.width=8",
    "data.num_workers=0",
    "data.fraction=0.1",
]


def toy_comparison(at: Path, **changes: Any) -> DictConfig:
    """Two methods × two seeds for an epoch, with all files under `at`."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose("compare")
    OmegaConf.set_struct(cfg, False)
    small = {
        "name": "toy",
        "methods": ["simclr", "gaussprob"],
        "seeds": [0, 1],
        "overrides": SMALL,
        "checkpoint": {"dir": str(at / "runs")},
        "output": str(at / "comparison"),
    }
    for key, value in {**small, **changes}.items():
        cfg[key] = value
    return cfg


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[Path, str]:
    """A comparison that has run: its folder and what it said."""
    folder = tmp_path_factory.mktemp("compared")
    console = Console(file=io.StringIO(), width=200)
    compare(toy_comparison(folder, copy_to=str(folder / "docs")), console)
    return folder, said(console)


def trained_runs(monkeypatch) -> list[tuple[str, int]]:
    """Note which runs train from now on."""
    noted: list[tuple[str, int]] = []
    train = compare_runs.pretrain

    def noting(cfg: DictConfig, console: Console) -> Any:
        noted.append((cfg.method_kwargs.latent, cfg.seed))
        return train(cfg, console)

    monkeypatch.setattr(compare_runs, "pretrain", noting)
    return noted


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_runs_leave_nothing_to_do(jobs):
    """As when a comparison whose runs are all there is asked for again."""
    assert list(train_all(Waiting([]), jobs)) == []


def test_a_comparison_leaves_everything_it_promises(compared):
    folder, output = compared
    made = folder / "comparison"
    assert f"(checkpoint.dir), tables in {made} (output)" in output
    names = {path.name for path in made.iterdir()}
    assert names == {"table.md", "table.csv", "comparison.png", "results.json"}
    assert {path.name for path in (folder / "docs").iterdir()} == {"table.md", "comparison.png"}
    rows = list(csv.DictReader(io.StringIO((made / "table.csv").read_text())))
    assert [row["status"] for row in rows] == ["finished"] * 4
    for row in rows:
        results = json.loads((Path(row["path"]) / "results.json").read_text())
        assert float(row["linear-features"]) == results["results"]["linear-features"]["top1"]
        assert results["seed"] == int(row["seed"])
    record = json.loads((made / "results.json").read_text())
    assert [run["status"] for run in record["runs"]] == ["finished"] * 4
    assert [one["label"] for one in record["methods"]] == ["simclr", "gaussprob"]
    assert record["methods"][0]["resolved"]["optimizer"]["batch_size"] == 64
    text = (made / "table.md").read_text()
    assert "| sphere, kernel, pooled |" in text
    assert "optimizer.name lars → adamw" in text
    assert re.search(r"simclr, seed 0: linear-features \d+\.\d % in \d+ s; 1 of 4 runs", output)
    assert "rank 1" in output


def test_a_comparison_that_is_finished_repeats_no_run_and_says_the_same(
    compared, console, monkeypatch
):
    folder, _ = compared
    noted = trained_runs(monkeypatch)
    before = (folder / "comparison" / "table.md").read_text()
    compare(toy_comparison(folder), console)
    assert noted == []
    assert "4 of 4 runs are finished already" in said(console)
    assert (folder / "comparison" / "table.md").read_text() == before


def test_added_seeds_and_methods_train_only_themselves(compared, console, monkeypatch):
    folder, _ = compared
    noted = trained_runs(monkeypatch)
    folders = {"output": str(folder / "wider")}
    compare(toy_comparison(folder, methods=["simclr"], seeds=[0, 1, 2], **folders), console)
    assert noted == [("sphere", 2)]


def test_a_run_without_the_score_asked_for_is_not_taken_for_it(compared, console, monkeypatch):
    folder, _ = compared
    noted = trained_runs(monkeypatch)
    changes = {"protocols": ["linear-online"], "rank_by": None, "output": str(folder / "online")}
    compare(toy_comparison(folder, methods=["simclr"], seeds=[1], **changes), console)
    assert noted == [("sphere", 1)]


def test_a_failed_run_stops_no_other_and_is_continued_by_the_next_call(
    tmp_path, console, monkeypatch
):
    cfg = toy_comparison(tmp_path, seeds=[0], overrides=[*SMALL, "max_epochs=2"])
    look = StopAtNonFinite.on_train_epoch_end

    def fails(self: Any, trainer: Any, module: Any) -> None:
        look(self, trainer, module)
        if module.cfg.method == "ldm" and trainer.current_epoch == 1:
            raise NonFiniteLossError("the loss is not finite at step 4 of epoch 1")

    with monkeypatch.context() as broken:
        broken.setattr(StopAtNonFinite, "on_train_epoch_end", fails)
        first = compare(cfg, console)
    assert [run.label for run in first.failed] == ["simclr"]
    assert [run.label for run in first.finished] == ["gaussprob"]
    text = (tmp_path / "comparison" / "table.md").read_text()
    assert "- **simclr**, seed 0: the loss is not finite at step 4 of epoch 1" in text
    record = json.loads((tmp_path / "comparison" / "results.json").read_text())
    assert "NonFiniteLossError" in record["runs"][0]["trace"]

    epochs: list[int] = []
    seed = EpochSeed.on_train_epoch_start

    def noting(self: Any, trainer: Any, module: Any) -> None:
        epochs.append(trainer.current_epoch)
        seed(self, trainer, module)

    monkeypatch.setattr(EpochSeed, "on_train_epoch_start", noting)
    second = compare(cfg, console)
    assert second.failed == []
    assert epochs == [1]  # of two, and of one of the two methods
    assert len(list((tmp_path / "runs" / "ldm").iterdir())) == 1


def test_an_interrupted_comparison_goes_on_where_it_was(tmp_path, console, monkeypatch):
    train = compare_runs.pretrain

    def interrupted(cfg: DictConfig, quiet: Console) -> Any:
        if cfg.seed == 1:
            raise KeyboardInterrupt
        return train(cfg, quiet)

    with monkeypatch.context() as stopped:
        stopped.setattr(compare_runs, "pretrain", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare(toy_comparison(tmp_path), console)
    assert "the same command continues" in said(console)
    record = json.loads((tmp_path / "comparison" / "results.json").read_text())
    assert [(run["seed"], run["status"]) for run in record["runs"]] == [
        (0, "finished"), (1, "waiting"), (0, "finished"), (1, "waiting"),
    ]  # fmt: skip
    noted = trained_runs(monkeypatch)
    compare(toy_comparison(tmp_path), console)
    assert noted == [("sphere", 1), ("plane", 1)]


def test_a_worker_is_sent_what_the_comparison_would_train(compared):
    folder, _ = compared
    path = next((folder / "runs" / "ldm").glob("*-seed0-*"))
    run = Run("x", 0, OmegaConf.create(json.loads((path / "args.json").read_text())))
    sent = pickle.loads(pickle.dumps(run))
    assert (sent.label, sent.seed, sent.cfg, sent.data) == (run.label, run.seed, run.cfg, run.data)
    found = train_alone(sent)
    assert found is not None
    assert found.path == str(path)  # it was finished meanwhile
    with locked(run):
        assert train_alone(sent) is None


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_killed_process_takes_only_its_own_run_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "train_alone", die_at_seed_1)
    monkeypatch.setattr(workers, "_prepare", prepare)
    place = {"dir": str(tmp_path)}
    runs: list[Any] = [
        SimpleNamespace(
            label="x", seed=seed, cfg=OmegaConf.create({"seed": seed, "checkpoint": place})
        )
        for seed in range(5)
    ]
    started: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(several := max(2, before))
    try:
        waiting = Waiting(runs, lambda run: None)
        ended = list(train_all(waiting, 2, lambda run: started.append(run.seed)))
    finally:  # weights of other tests depend on the number, to the last bits
        torch.set_num_threads(before)
    made = [run.results for run in ended if run.finished]
    assert [one["threads"] for one in made] == [[several // 2]] * 4
    assert {one["libraries"] for one in made} == {str(several // 2)}
    assert all(one["ignores"] for one in made)  # the comparison itself ends at Ctrl-C, and them
    assert len({one["pid"] for one in made}) < 4
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert sorted(run.seed for run in ended) == started == [0, 1, 2, 3, 4]
    lost = [run for run in ended if not run.finished]
    assert [(run.seed, run.error) for run in lost] == [
        (1, "its process ended by SIGKILL, often because memory ran out")
    ]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_a_worker_ends_with_a_comparison_that_is_killed(tmp_path):
    """It would train on beside the next comparison, in the same folder."""
    assert run_child(die_before_the_worker, tmp_path / "pid").code == -signal.SIGKILL
    status = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    end = time.monotonic() + 60

    def runs() -> bool:
        try:
            return status.read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    while runs() and time.monotonic() < end:
        time.sleep(0.05)
    assert not runs()
