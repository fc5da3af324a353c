"""Signals, lost processes and removed folders end a run with one line; what is saved stays."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_ldm.cli import run_command
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.run.callbacks.progress import ShowProgress
from solo_ldm.run.folder import RunFolder
from tests.support.predictive.runs import SMALL
from tests.support.processes import Ended, launch, launch_until_all_end, run_child

DIGITS = [
    "max_epochs=3",
    "scheduler.warmup_epochs=1",
    "data.num_workers=0",
    "data.format=torchvision",  # a child need not load DALI: test_runs.py kills one that has
    "data.fraction=0.2",
    "optimizer.batch_size=64",
    "method_kwargs.proj_hidden_dim=16",
    "method_kwargs.proj_output_dim=8",
    "backbone.kwargs.width=4",
    "evaluation.protocols=[]",
    "evaluation.report=false",
]
# A command and a place with its arguments: of each a few steps.
RUNS = {
    "pretrain": ["--config-name", "gaussprob", *DIGITS],
    "predictive": ["--config-name", "figure8", *SMALL["figure8"], "evaluation.report=false"],
    "linear": [
        *("untrained:convnet_small", "data=digits", "max_epochs=3", "data.fraction=0.2"),
        "data.format=torchvision",
    ],
    "decode": ["--config-name", "place_cells", "data.num_cells=8", "data.duration_seconds=60"],
}


def arguments_of(command: str, folder: Path) -> list[str]:
    return [*RUNS[command], "accelerator=cpu", f"checkpoint.dir={folder}"]


# --- in a child ----------------------------------------------------------------------------------


def at_step(step: int, do: Any) -> None:
    """Do something after a step of the training."""
    look = StopAtNonFinite.on_train_batch_end

    def watched(self: Any, trainer: Any, *rest: Any) -> None:
        look(self, trainer, *rest)
        if trainer.global_step == step:
            do(trainer)

    StopAtNonFinite.on_train_batch_end = watched


def signalled(number: int, command: str, arguments: list[str], again: bool = False) -> None:
    def send(*_: Any) -> None:
        os.kill(os.getpid(), number)

    def send_again(*_: Any) -> None:
        send()
        time.sleep(600)  # longer than the test waits

    at_step(6, send)
    if again:
        ShowProgress.on_exception = send_again
    run_command(command, arguments)


def signalled_in_evaluation(number: int, arguments: list[str]) -> None:
    import predictive.commands.predictive.run as module

    module.assess = lambda *_: os.kill(os.getpid(), number)
    run_command("decode", arguments)


def one_of_two_dies(arguments: list[str]) -> None:
    torch.set_num_threads(1)

    def die(trainer: Any) -> None:
        if trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    at_step(3, die)
    run_command("pretrain", arguments)


def removed(folder: str, arguments: list[str]) -> None:
    at_step(6, lambda trainer: shutil.rmtree(folder))
    run_command("pretrain", arguments)


# --- claims --------------------------------------------------------------------------------------


def lines_of(ended: Ended) -> list[str]:
    """What was said after the beginning, and that there is no trace."""
    assert "Traceback" not in ended.printed, ended.printed
    return ended.printed.strip().splitlines()


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_equal(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    assert some.keys() == others.keys()
    assert all(torch.equal(some[key], others[key]) for key in some)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of a training that no signal ends."""
    place = tmp_path_factory.mktemp("undisturbed")
    assert run_child(run_command, "pretrain", arguments_of("pretrain", place)).code == 0
    (folder,) = place.glob("*/*")
    return weights_in(folder)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("pretrain", signal.SIGTERM),
        ("predictive", signal.SIGINT),
        ("linear", signal.SIGUSR1),
    ],
)
def test_a_signal_ends_a_training_with_its_code_and_the_command_that_continues(
    tmp_path, command, number, undisturbed
):
    arguments = arguments_of(command, tmp_path / "a run's place")
    ended = run_child(signalled, number, command, arguments)
    assert ended.code == 128 + number, ended.printed
    (line,) = (one for one in lines_of(ended) if "stopped by" in one)
    assert number.name in line
    assert line == lines_of(ended)[-1]
    written = line.partition("go on with: ")[2]
    # What is printed can be given to a shell.
    assert run_child(print_arguments, written).printed.strip().splitlines() == [
        *("solo-ldm", command),
        *arguments,
    ]
    if command == "pretrain":
        (folder,) = map(RunFolder, (tmp_path / "a run's place").glob("*/*"))
        assert {path.name for path in folder.last.parent.iterdir()} == {"last.ckpt", "best.ckpt"}
        again = run_child(run_command, command, arguments)
        assert again.code == 0
        assert "continuing" in again.printed
        assert folder.finished
        assert_equal(weights_in(folder.path), undisturbed)


SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_ARRAY_JOB_ID": "7",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_JOB_NAME": "train",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


def scontrol_of(folder: Path, then: str) -> dict[str, str]:
    """The environment of a job for which Slurm notes what it is asked in folder/asked."""
    scontrol = folder / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{then}\n')
    scontrol.chmod(0o755)
    return {**SLURM, "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("requeues", [True, False])
def test_a_job_of_slurms_is_requeued_and_continued(tmp_path, undisturbed, requeues):
    """SIGUSR1 is what `sbatch --signal=USR1@SECONDS` sends before the time is over."""
    # Slurm ends a job that it starts again.
    ends = "kill -TERM $PPID; sleep 60" if requeues else "echo disabled >&2; exit 1"
    told = scontrol_of(tmp_path, ends)
    arguments = arguments_of("pretrain", tmp_path / "runs")
    ended = run_child(signalled, signal.SIGUSR1, "pretrain", arguments, **told)
    assert ended.code == (143 if requeues else 0), ended.printed
    assert "Traceback" not in ended.printed
    assert (tmp_path / "asked").read_text() == "requeue 7_3\n"
    (folder,) = map(RunFolder, (tmp_path / "runs").glob("*/*"))
    assert folder.finished is not requeues
    if requeues:
        again = run_child(run_command, "pretrain", arguments, **told)
        assert "continuing" in again.printed
    assert not list(folder.path.glob("hpc_ckpt*"))
    assert_equal(weights_in(folder.path), undisturbed)


def print_arguments(line: str) -> None:
    import subprocess

    subprocess.run(f'for one in {line}; do echo "$one"; done', shell=True, check=True)


def test_a_signal_ends_an_evaluation_as_it_ends_a_training(tmp_path):
    small = ["max_epochs=1", "data.folds=2", "data.bin_seconds=0.025", "optimizer.batch_size=8"]
    arguments = [*arguments_of("decode", tmp_path), *small]
    ended = run_child(signalled_in_evaluation, signal.SIGTERM, arguments)
    assert ended.code == 143, ended.printed
    assert "stopped by SIGTERM" in lines_of(ended)[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(tmp_path, number):
    arguments = arguments_of("predictive", tmp_path)
    ended = run_child(signalled, number, "predictive", arguments, True)
    assert ended.code == 128 + number, ended.printed


def test_one_of_two_processes_of_srun_requeues_and_both_go_on(tmp_path, monkeypatch):
    for name, value in scontrol_of(tmp_path, "exit 0").items():
        if name == "PATH" or "ARRAY" in name:
            monkeypatch.setenv(name, value)
    shared = ["devices=2", "strategy=ddp", "optimizer.batch_size=32"]
    # A comparison of gradients that waited for the other process would never end.
    compared = ["evaluation.compare_gradients_every=1", "method_kwargs.proj_output_whitening=true"]
    arguments = [*arguments_of("pretrain", tmp_path / "runs"), *shared, *compared]
    printed = launch(2, signalled, signal.SIGUSR1, "pretrain", arguments, srun=True)
    assert [text.count("SIGUSR1: scontrol requeue 7_3") for text in printed] == [1, 0]
    assert [text.count("writing to") for text in printed] == [1, 0]
    assert (tmp_path / "asked").read_text() == "requeue 7_3\n"
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert (folder / "gradients.csv").exists()


def test_the_other_process_of_one_that_is_killed_ends_with_a_line(tmp_path):
    shared = ["devices=2", "strategy=ddp", "optimizer.batch_size=32"]
    survivor, killed = launch_until_all_end(
        2, one_of_two_dies, [*arguments_of("pretrain", tmp_path), *shared]
    )
    assert killed.code == -signal.SIGKILL
    assert survivor.code == 2, survivor.printed
    errors = [line for line in lines_of(survivor) if line.startswith("error: ")]
    assert errors == lines_of(survivor)[-1:]
    assert "another of the 2 processes has ended" in errors[0]


def test_a_folder_that_is_removed_ends_its_run_and_does_not_come_back(tmp_path):
    arguments = arguments_of("pretrain", tmp_path / "runs")
    ended = run_child(removed, str(tmp_path / "runs"), arguments)
    assert ended.code not in (0, None), ended.printed
    assert "was removed while its run was made" in lines_of(ended)[-1]
    assert not (tmp_path / "runs").exists()
