"""Comparisons through Hydra's launchers: what is lost, what goes on, Slurm's stand-in submitit."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
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
    quoted = ",".join(f"'{one}'" for one in (*SMALL, "max_epochs=20", "data.num_workers=1"))
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


def compared(arguments: list[str], begun: str, then: Any = None) -> None:
    """Compare; when a file appears, do something."""
    torch.set_num_threads(1)
    if then is not None:
        os.setsid()
        Thread(target=wait_for, args=(begun, then), daemon=True).start()
    main(arguments)


def wait_for(pattern: str, then: Any) -> None:
    # A signal that arrives while a library is loaded becomes an error of its own.
    while len(glob(pattern)) < (2 if then is preempt else 1):
        time.sleep(0.01)
    then()


def die() -> None:
    """End this process with all that it has started."""
    os.killpg(0, signal.SIGKILL)


def preempt() -> None:
    """Signal the jobs of submitit as Slurm does before it takes the machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            process, task = int(path.parent.name), b"submitit.core._submit"
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            of_controller = b"submitit.local._local" in Path(f"/proc/{parent}/cmdline").read_bytes()
            if os.getsid(process) == os.getsid(0) and of_controller and task in path.read_bytes():
                os.kill(process, signal.SIGUSR2)


# --- claims --------------------------------------------------------------------------------------


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.parent.name: load_file(path) for path in folder.glob("runs/*/*/*.safetensors")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of a comparison that nothing disturbs."""
    folder = tmp_path_factory.mktemp("alone")
    assert run_child(compared, arguments(folder, "seeds=[0,1]"), "", OMP_NUM_THREADS="1").code == 0
    return weights(folder)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
@pytest.mark.parametrize(
    ("launcher", "then"), [("joblib", die), ("submitit_local", die), ("submitit_local", preempt)]
)
def test_a_comparison_through_a_launcher_that_is_disturbed_is_continued(
    tmp_path, alone, launcher, then
):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    given = arguments(tmp_path, f"hydra/launcher={launcher}", "jobs=2", "seeds=[0,1]")
    begun = str(tmp_path / "runs/*/*/checkpoints/last.ckpt")
    ended = run_child(compared, given, begun, then, OMP_NUM_THREADS="1")
    if then is die:
        assert ended.code == -signal.SIGKILL, ended.printed
        assert not list(tmp_path.glob("runs/*/*/results.json"))
        ended = run_child(compared, given, begun, OMP_NUM_THREADS="1")
    else:
        logs = "".join(path.read_text() for path in tmp_path.glob("out/.submitit/*/*_log.out"))
        assert logs.count("Starting with JobEnvironment") == 4  # each job once more
    assert ended.code == 0, ended.printed
    assert {status for status, _ in statuses(tmp_path).values()} == {"finished"}
    made = weights(tmp_path)
    assert made.keys() == alone.keys()
    assert len(made) == 2
    for name, tensors in alone.items():
        assert all(torch.equal(made[name][key], tensors[key]) for key in tensors)
