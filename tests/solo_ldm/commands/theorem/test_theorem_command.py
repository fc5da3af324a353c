"""The command `theorem` as a user meets it: files, numbers, a picture, refusals."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_module
from PIL import Image
from rich.console import Console

from solo_ldm.cli import main
from solo_ldm.commands.theorem import schema as theorem_schema
from solo_ldm.commands.theorem import theorem
from solo_ldm.commands.theorem.report import judge, judge_all
from solo_ldm.theorem import CASES, ENTROPIES

TINY = ["steps=20", "batch_size=32", "hidden=8"]


def run(*overrides: str):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return theorem(compose("theorem", overrides=list(overrides)), Console(quiet=True))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return run(*TINY, "seeds=[0,1]", f"folder={tmp_path_factory.mktemp('theorem')}")


def test_the_cases_leave_numbers_and_a_picture(tiny):
    assert {path.name for path in tiny.folder.iterdir()} == {"results.json", "picture.png"}
    results = json.loads((tiny.folder / "results.json").read_text())
    assert list(results["cases"]) == list(CASES)
    for name, case in results["cases"].items():
        assert [trial["seed"] for trial in case["trials"]] == [0, 1]
        for trial in case["trials"]:
            assert len(trial["r2_per_source"]) == 3
            assert set(trial["loss_gaps"]) == set(CASES[name].alternatives)
        assert case["theorem_says"] == ("found" if name == "holds" else "lost")
    assert {"protocol", "config", "hardware", "versions", "commit", "seconds"} <= set(results)
    with Image.open(tiny.folder / "picture.png") as picture:
        assert min(picture.size) > 600


def test_sources_not_found_after_twenty_steps_are_not_as_the_theorem_says(tiny):
    assert tiny.results["as_the_theorem_says"] is False
    assert tiny.results["cases"]["holds"]["as_said"] is False
    assert "not found" in tiny.results["cases"]["holds"]["verdict"]


def test_a_lost_case_must_lie_below_the_threshold_and_below_the_case_that_holds(tiny):
    blind = tiny.cases["blind"]
    highest = max(trial.learned.r2 for trial in blind)
    assert judge(blind, 0.99, None).as_said
    assert judge(blind, 0.99, highest + 0.01).as_said
    assert not judge(blind, 0.99, highest - 0.01).as_said
    assert not judge(blind, highest - 0.01, None).as_said


def test_a_loss_that_tells_wrong_latents_is_not_that_of_a_lost_case(tiny):
    told = [type(one)(**{**vars(one), "gaps": {"swirl": 0.05}}) for one in tiny.cases["blind"]]
    assert not judge(told, 0.99, None).as_said


def test_the_case_that_holds_needs_every_seed_and_every_gap(tiny):
    holds = tiny.cases["holds"]
    lowest = min(trial.learned.r2 for trial in holds)
    assert judge(holds, lowest, None).as_said
    assert not judge(holds, lowest + 1e-6, None).as_said
    equal = [type(one)(**{**vars(one), "gaps": {"shear": 0.0}}) for one in holds]
    assert not judge(equal, lowest, None).as_said
    assert not judge_all({"holds": equal}, lowest)["holds"].as_said


def test_the_command_says_what_came_and_what_is_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["theorem", "cases=blind", "seeds=2", *TINY, "accelerator=cpu"])
    shown = capsys.readouterr().out
    for words in ("the theorem as a check", "blind, seed 2", "every case came as", "in theorem"):
        assert words in shown
    assert (tmp_path / "theorem" / "picture.png").is_file()


def test_the_script_gives_the_same_numbers_again(tmp_path):
    arguments = ["cases=[singular]", "seeds=[1]", *TINY, "accelerator=cpu"]
    command = [sys.executable, "-m", "solo_ldm.cli", "theorem", *arguments, "folder=first"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    main(["theorem", *arguments, f"folder={tmp_path / 'second'}"])
    found = [
        json.loads((tmp_path / name / "results.json").read_text())["cases"]["singular"]
        for name in ("first", "second")
    ]
    assert found[0]["r2"] == pytest.approx(found[1]["r2"], rel=1e-4)


def test_the_schema_knows_what_the_library_knows():
    assert tuple(CASES) == theorem_schema.CASES
    assert tuple(ENTROPIES) == theorem_schema.ENTROPIES


REFUSED = {
    "cases=[]": "cases: expected at least one",
    "cases=[blond]": "cases: expected some of holds, non_gaussian, singular, blind; got 'blond'",
    "cases=[holds,holds]": "cases: holds is listed 2 times",
    "seeds=[-1]": "seeds: expected numbers from 0",
    "sedes=[1]": "unknown key sedes: did you mean seeds?",
    "steps=0": "steps: expected at least 1",
    "batch_size=4": "batch_size: expected at least 8",
    "lr=0": "lr: expected a positive number",
    "threshold=2": "threshold: expected an R² between 0 and 1",
    "entropy=vicreg": "entropy must be one of neighbour, kernel, logdet",
    "accelerator=tpu": "accelerator must be one of",
    "+entropy_kwargs.ridge=1": "unknown key entropy_kwargs.ridge",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_is_wrong_is_one_line_and_leaves_nothing(override, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["theorem", override])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert REFUSED[override] in lines[0]
    assert not (tmp_path / "theorem").exists()


@pytest.mark.slow
def test_the_default_comes_as_the_theorem_says(tmp_path):
    outcome = run(f"folder={tmp_path}")
    assert outcome.results["as_the_theorem_says"]
    scores = {
        name: [trial.learned.r2 for trial in trials] for name, trials in outcome.cases.items()
    }
    assert min(scores.pop("holds")) >= 0.99
    assert max(max(values) for values in scores.values()) < 0.98
