"""Random overrides of every command: each is one line that names the key, or makes sense.

    pytest -n 0 -m slow -s tests/solo_ldm/config/test_bad_overrides.py

tries 2,000 of them as command lines and prints a summary.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import pytest

from solo_ldm.cli import run_command
from tests.support.overrides.drawn import BASES, draw, keys_of
from tests.support.overrides.senses import sense_of
from tests.support.overrides.tried import command_line, complete, fault, summary
from tests.support.processes import run_child

SEED = 20


def test_the_meaning_of_every_key_is_known():
    unknown = [
        f"{base.command}: {key}"
        for base in BASES
        for key, _ in keys_of(base)
        if sense_of(base.command, key) is None
    ]
    assert not unknown


def test_no_senseless_override_is_accepted_and_each_refusal_is_one_line():
    trials = [complete(case) for case in draw(90, SEED)]
    faults = [(one, what) for one in trials if (what := fault(one))]
    assert not faults, summary(trials, faults)
    # The harness itself draws both: what makes sense, and much that does not.
    assert 0 < sum(one.accepted for one in trials) < len(trials) / 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_thousand_command_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    trials = [command_line(case) for case in draw(2000, SEED) if case.can_be_typed]
    faults = [(one, what) for one in trials if (what := fault(one))]
    print(summary(trials, faults))
    assert not faults, summary(trials, faults)
    assert list(tmp_path.iterdir()) == []


# What only the data, the memory or the network can tell.
LATER = [
    ("pretrain", ["gaussprob", "optimizer.batch_size=100000"], "optimizer.batch_size"),
    ("pretrain", ["gaussprob", "method_kwargs.proj_hidden_dim=1000000",
                  "method_kwargs.proj_layers=3"], "1000000, 1000000, 128 units"),
    ("pretrain", ["gaussprob", "+backbone.kwargs.width=1000000"], "backbone"),
    ("pretrain", ["gaussprob", "data.val_fraction=0.5", "data.fraction=1e-15"], "data.fraction"),
    ("predictive", ["figure8", "data.num_train=900000000"], "num_train"),
    ("predictive", ["figure8", "data.num_train=4", "optimizer.batch_size=900"], "batch_size"),
    ("predictive", ["figure8", "data.num_train=8", "data.frame_size=4",
                    "objective.first_step=5000"], "objective.first_step"),
    ("predictive", ["place_cells", "data.running_speed=1e8"], "running_speed"),
    ("predictive", ["place_cells", "data.bin_seconds=1e-12"], "num_cells"),
    ("ica", ["ica", "task=generalised_gaussian", "generalised_gaussian.num_samples=900000000"],
     "num_samples"),
]  # fmt: skip


def run_later() -> None:
    """Run commands whose values are wrong; print a line of JSON for each."""
    found = []
    for command, (config, *overrides), _ in LATER:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            try:
                run_command(command, ["--config-name", config, *overrides])
                code: object = "none"
            except SystemExit as left:
                code = left.code
        found.append([code, errors.getvalue().strip(), os.listdir()])
    print("found", json.dumps(found))


def test_what_the_data_or_the_memory_tell_is_one_line_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    ended = run_child(run_later)
    printed = [line for line in ended.printed.splitlines() if line.startswith("found")]
    assert ended.code == 0, ended.printed
    assert printed, ended.printed
    for (command, arguments, key), (code, words, left) in zip(
        LATER, json.loads(printed[0].removeprefix("found")), strict=True
    ):
        assert code == 2, (command, arguments, code, words)
        assert "\n" not in words, (command, arguments, words)
        assert key in words, (command, arguments, words)
        assert left == [], (command, arguments, left)
