"""Comparisons through Hydra's launchers: what is lost, what goes on, Slurm's stand-in submitit."""

from __future__ import annotations

import json
import os
import signal
import time
from glob import glob
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from solo_ldm.cli import main
from solo_ldm.commands.compare import runs as compare_runs
from tests.solo_ldm.commands.compare.test_comparison_records import finish
from tests.solo_ldm.commands.compare.test_comparison_runs import SMALL
from tests.support.processes import run_child
from tests.support.studies.toy_launcher import THROUGH, register


def arguments(folder: Path, *more: str) -> list[str]:
    quoted = ",".join(f"'{one}'" for one in (*SMALL, "max_epochs=9", "data.num_workers=1"))
    small = ["methods=[simclr]", "seeds=[0,1,2]", f"overrides=[{quoted}]"]
    return ["compare", *small, f"checkpoint.dir={folder}/runs", f"output={folder}/out", *more]


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """The seeds of the runs that were trained; nothing is."""
    seeds: list[int] = []

    def pretrain(cfg: Any, console: Any) -> Any:
        seeds.append(cfg.seed)
        if cfg.seed == 2:
            raise ValueError("no number")
        return finish(cfg)

    monkeypatch.setattr(compare_runs, "pretrain", pretrain)
    register(monkeypatch)
    return seeds


def statuses(folder: Path) -> dict[int, tuple[str, str | None]]:
    runs = json.loads((folder / "out" / "results.json").read_text())["runs"]
    return {run["seed"]: (run["status"], run["error"]) for run in runs}


def test_every_run_is_a_job_of_the_launcher_and_one_that_is_lost_is_one(tmp_path, trained, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments(tmp_path, THROUGH, "+hydra.launcher.lost=0", "jobs=1"))
    assert left.value.code == 1
    assert trained == [0, 1, 2]
    assert statuses(tmp_path) == {
        0: ("failed", "its job was lost: job 0 has not produced any output"),
        1: ("finished", None),
        2: ("failed", "no number"),
    }
    # What the lost job had finished is found, what failed is tried again.
    with pytest.raises(SystemExit):
        main(arguments(tmp_path, THROUGH))
    assert trained == [0, 1, 2, 2]
    assert "2 of 3 runs are finished already" in capsys.readouterr().out


def test_a_launcher_that_starts_nothing_is_one_line(tmp_path, trained, capsys):
    for more, told in {
        (
            THROUGH,
            "+hydra.launcher.absent=true",
        ): "no job could be started: there is no cluster here",
        ("+hydra.launcher.n_jobs=4",): "hydra.launcher.n_jobs: give jobs=4",
    }.items():
        with pytest.raises(SystemExit) as left:
            main(arguments(tmp_path, *more))
        assert left.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert told in lines[0]
    assert trained == []


# --- in a child ----------------------------------------------------------------------------------


def compared(arguments: list[str], killed_at: str | None = None) -> None:
    """Compare; with all processes that it has started, be killed when a file appears."""
    torch.set_num_threads(1)
    if killed_at is not None:
        os.setsid()
        Thread(target=die_at, args=(killed_at,), daemon=True).start()
    main(arguments)


def die_at(pattern: str) -> None:
    while not glob(pattern):
        time.sleep(0.01)
    os.killpg(0, signal.SIGKILL)


# --- claims --------------------------------------------------------------------------------------


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.parent.name: load_file(path) for path in folder.glob("runs/*/*/*.safetensors")}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_comparison_through_a_launcher_that_is_killed_is_continued(tmp_path, launcher):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    through = [f"hydra/launcher={launcher}", "jobs=2", "seeds=[0,1]"]
    begun = tmp_path / "runs/*/*/checkpoints/last.ckpt"
    ended = run_child(compared, arguments(tmp_path, *through), str(begun), OMP_NUM_THREADS="1")
    assert ended.code == -signal.SIGKILL, ended.printed
    assert not list(tmp_path.glob("runs/*/*/results.json"))
    assert run_child(compared, arguments(tmp_path, *through), OMP_NUM_THREADS="1").code == 0
    assert {status for status, _ in statuses(tmp_path).values()} == {"finished"}
    alone = tmp_path / "alone"
    run_child(compared, arguments(alone, "seeds=[0,1]"), OMP_NUM_THREADS="1")
    one, other = weights(alone), weights(tmp_path)
    assert one.keys() == other.keys()
    assert len(one) == 2
    for name in one:
        assert all(torch.equal(one[name][key], other[name][key]) for key in one[name])
