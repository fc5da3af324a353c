"""Errors of known causes are one line in every command; others keep their trace."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

import solo_ldm
from solo_ldm.cli import COMMANDS, main
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.config.errors import Left, one_line, one_line_errors, warnings_in_one_line
from solo_ldm.config.places import check_place
from solo_ldm.files import write_atomically
from tests.support.processes import run_child
from tests.support.toy import toy_config


def system(number: int, path: str | None = "a/b") -> OSError:
    return OSError(number, os.strerror(number), path)


KNOWN = [
    (system(errno.ENOSPC, None), "no space left on the device; free some"),
    (OSError("40000 requested and 9200 written"), "no space left on the device"),
    (RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 5 vs 1"), "no space"),
    (system(errno.EROFS), "a/b: the file system is read-only; choose another folder"),
    (system(errno.EACCES), "a/b: permission denied"),
    (system(errno.EISDIR), "a/b: expected a file, got a folder"),
    (system(errno.ENOTDIR), "a/b: expected a folder, got a file"),
    (system(errno.EEXIST), "a/b: there is a file in the way"),
    (system(errno.ENOENT), "a/b: no such file or folder"),
    (system(errno.ENAMETOOLONG), "a/b: the name is too long"),
    (system(errno.EMFILE, None), "too many open files"),
    (system(errno.EFBIG), "a/b: the file is larger than the limit"),
    (OSError("cannot write mode F as PNG"), "cannot write mode F as PNG"),
    (ConnectionError("no\nroute"), "no route"),
    (ValueError("embedded null byte"), "embedded null byte"),
    (ImportError("No module named 'wandb'", name="wandb"), 'pip install "solo-ldm[wandb]"'),
    (ImportError("Requirement 'wandb>=0.12.10' not met. HINT: x"), 'pip install "solo-ldm[wandb]"'),
    (ImportError("No module named 'nvidia.dali'", name="nvidia.dali"), '"solo-ldm[dali]"'),
    (ImportError("No module named 'h5py'", name="h5py"), 'pip install "solo-ldm[neuro]"'),
    (torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"), "out of memory; use"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
    (MemoryError(), "out of memory"),
    (np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("f8")), "out of memory"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "num_workers=0"),
    (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"), "another proc"),
    (RuntimeError("Critical error in pipeline:\nError in dali/operators: x"), "data.format=torchv"),
    (RuntimeError("CUDA error: no kernel image\nmore"), "CUDA error: no kernel image; accelerator"),
    (MisconfigurationException("no\nsuch strategy"), "no such strategy"),
]  # fmt: skip


def test_each_known_cause_is_one_line_with_what_to_do(capsys):
    for error, words in KNOWN:
        with pytest.raises(Left) as left, one_line_errors():
            raise error
        assert left.value.code in (1, 2)
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line, (error, line)
        assert one_line(error) == left.value.message == line.removeprefix("error: ")


BUGS = [
    RuntimeError("shapes do not match"),
    ImportError("cannot import name 'x' from 'solo_ldm'", name="solo_ldm"),
    KeyError("momentum"),
    TypeError("unexpected argument"),
    AssertionError("never"),
    RecursionError("maximum recursion depth exceeded"),
]


def test_warnings_of_ours_are_one_line_without_a_place_and_others_keep_it():
    usual = warnings.formatwarning("x", UserWarning, __file__, 1)
    with warnings_in_one_line():
        own = warnings.formatwarning("latents collapse", UserWarning, solo_ldm.__file__, 1)
        assert own == "warning: latents collapse\n"
        assert warnings.formatwarning("x", UserWarning, __file__, 1) == usual
    assert "latents collapse" in warnings.formatwarning("latents collapse", UserWarning, "a", 1)


def test_a_bug_keeps_its_trace_and_so_does_everything_on_request(monkeypatch):
    for bug in BUGS:
        with pytest.raises(type(bug)), one_line_errors():
            raise bug
    monkeypatch.setenv("SOLO_LDM_DEBUG", "1")
    with pytest.raises(ValueError, match="wrong"), one_line_errors():
        raise ValueError("wrong")


def test_commands_without_keys_refuse_arguments_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("afile").touch()
    Path("afolder.safetensors").mkdir()
    for arguments, words in {
        "zoo": "required: COMMAND",
        "zoo foo": "invalid choice: 'foo'",
        "zoo show": "required: NAME",
        "zoo show figure8 extra": "unrecognized arguments: extra",
        "zoo publish": "required: RUN, --name, --licence",
        "zoo publish afile --name x --licence y --zoo afile": "--zoo: expected a folder",
        "zoo publish afile --name x --licence y --evaluation no": "--evaluation: expected a path",
        "paper": "required: COMMAND",
        "paper run --folder afile": "--folder: expected a folder that can be made, got afile",
        "paper run --runs afile": "--runs: expected a folder that can be made, got afile",
        "paper run --budget 0": "expected minutes above zero, got 0",
        "export a": "required: PATH",
        "export a b --dtype int": "invalid choice: 'int'",
        "export afile afolder.safetensors": "PATH: expected a file to write, got a folder",
        "export afile afile/b.safetensors": "PATH: expected a folder that can be made",
    }.items():
        with pytest.raises(SystemExit) as left:
            main(arguments.split())
        (line,) = capsys.readouterr().err.splitlines()
        assert left.value.code == 2
        assert words in line, (arguments, line)


def test_a_reader_that_ends_early_ends_a_command_without_a_word(tmp_path):
    lists = "import sys; from solo_ldm.cli import main; main(['zoo', 'list'])"
    command = f'set -o pipefail; "{sys.executable}" -c "{lists}" 2>err | true'
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False)
    assert ended.returncode in (0, 141)
    assert (tmp_path / "err").read_text() == ""


@pytest.mark.parametrize("arguments", ["zoo list", "--help", "knn --help"])
def test_what_a_command_cannot_print_is_an_error(monkeypatch, capsys, arguments):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as left:
            main(arguments.split())
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert left.value.code == 1
    assert "error: standard output: no space left on the device" in capsys.readouterr().err


def test_the_file_that_a_full_disk_takes_no_more_of_is_named(tmp_path):
    for error in (system(errno.ENOSPC, None), RuntimeError("file write failed")):
        with pytest.raises(Left) as left, one_line_errors():
            write_atomically(tmp_path / "last.ckpt", partial(_fail, error))
        assert left.value.message.startswith(f"{tmp_path}/last.ckpt: no space left on the device")
        assert "begun" not in left.value.message


def _fail(error: Exception, path: Path) -> None:
    raise error


def test_a_place_that_cannot_be_written_to_is_refused_and_one_that_can_left_as_it_is(
    tmp_path, monkeypatch
):
    (tmp_path / "afile").touch()
    (tmp_path / "old" / "results.json").mkdir(parents=True)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name, words in {
        "": "expected the name of a folder",
        "a\0b": "expected the name of a folder",
        f"{tmp_path}/afile": "afile is a file",
        f"{tmp_path}/afile/b/c": "afile is a file",
        f"{tmp_path}/nowhere": "nowhere is a file",
        f"{tmp_path}/{'n' * 300}/x": "the name is too long",
        f"{tmp_path}/old": "named as a file to write",
        "/proc/x": "nothing can be made there",
    }.items():
        with pytest.raises(ValueError, match=r"^output: ") as refused:
            check_place("output", name)
        assert words in str(refused.value)
    before = sorted(tmp_path.rglob("*"))
    check_place("output", tmp_path)
    check_place("output", tmp_path / "new" / "folder")
    assert sorted(tmp_path.rglob("*")) == before
    for number in (errno.EACCES, errno.EROFS, errno.ENOSPC):
        monkeypatch.setattr("solo_ldm.config.places.TemporaryFile", _raising(system(number)))
        with pytest.raises(ValueError, match="can be written to, got"):
            check_place("output", tmp_path)


def _raising(error: OSError):
    def raises(**keywords):
        raise error

    return raises


PLACES = {
    "pretrain --config-name gaussprob": "checkpoint.dir",
    "linear zoo:gaussprob-digits": "checkpoint.dir",
    "knn zoo:gaussprob-digits": "output",
    "uncertainty .": "output",
    "clusters .": "output",
    "zeroshot .": "output",
    "diagnostics .": "output",
    "compare": "copy_to",
    "ica": "output",
    "theorem": "output",
    "predictive --config-name figure8": "checkpoint.dir",
    "decode --config-name place_cells": "checkpoint.dir",
    "latents .": "output",
}


def test_every_command_refuses_a_file_for_its_folder_before_it_writes(tmp_path, monkeypatch):
    assert {one.split()[0] for one in PLACES} == {*COMMANDS} - {"zoo", "export", "paper"}
    monkeypatch.chdir(tmp_path)
    Path("afile").touch()
    lines = [f"{command} {key}=afile" for command, key in PLACES.items()]
    # Where a run or an evaluation lies by itself.
    Path("runs").mkdir()
    Path("runs", "gaussprob").touch()
    Path("evaluations").touch()
    lines.append("pretrain --config-name gaussprob data.format=torchvision checkpoint.dir=runs")
    lines.append("knn zoo:gaussprob-digits data.format=torchvision")
    lines.append("pretrain --config-name gaussprob wandb.enabled=true")
    ended = run_child(_run_all, lines)
    assert ended.code == 0, ended.printed
    told = [one for one in ended.printed.splitlines() if one.startswith("error: ")]
    for line, key in zip(told, PLACES.values(), strict=False):
        assert line.startswith(f"error: {key}: expected a folder that can be made, got afile"), line
    run, evaluation, extra = told[len(PLACES) :]
    assert run.startswith("error: checkpoint.dir: expected a folder that can be made, got runs/")
    assert "gaussprob is a file" in run
    assert evaluation.startswith(
        "error: output: expected a folder that can be made, got evaluations/"
    )
    assert extra.startswith("error: wandb.enabled=true: wandb is not installed; pip install")
    assert "Traceback" not in ended.printed
    assert sorted(one.name for one in tmp_path.rglob("*")) == [
        *("afile", "evaluations", "gaussprob", "runs")
    ]


def _run_all(lines: list[str]) -> None:
    hidden = dict.fromkeys(["wandb"])
    sys.modules.update(hidden)  # as if it were not installed
    for line in lines:
        with pytest.raises(SystemExit) as left:
            main(line.split())
        assert left.value.code == 2, line


def test_a_full_disk_ends_a_training_in_one_line(tmp_path):
    ended = run_child(_train_with_little_space, tmp_path)
    last = ended.printed.rstrip().splitlines()[-1]
    assert ended.code == 1, ended.printed
    assert last.startswith("error: ")
    assert "larger than the limit" in last or "no space" in last
    assert "Traceback" not in ended.printed


def _train_with_little_space(folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    with one_line_errors():
        pretrain(toy_config(folder / "runs", "max_epochs=1", "evaluation.protocols=[]"))
