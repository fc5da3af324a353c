"""The command `theorem` as a user meets it: files, numbers, a picture, refusals."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_module
from PIL import Image
from rich.console import Console

from solo_ldm.cli import main
from solo_ldm.commands.theorem import schema as theorem_schema
from solo_ldm.commands.theorem import theorem
from solo_ldm.commands.theorem.report import judge, judge_all
from solo_ldm.theorem import CASES, Problem
from tests.support.studies.theorem import few_samples

TINY = ["steps=20", "batch_size=32", "hidden=8"]


def run(*overrides: str):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return theorem(compose("theorem", overrides=list(overrides)), Console(quiet=True))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with few_samples():
        return run(*TINY, "seeds=[0,1]", f"output={tmp_path_factory.mktemp('theorem')}")


def test_the_cases_leave_numbers_and_a_picture(tiny):
    folder = tiny.folder.path
    assert {path.name for path in folder.iterdir()} == {"results.json", "picture.png"}
    results = json.loads((folder / "results.json").read_text())
    assert results == tiny.results
    assert list(results["cases"]) == list(CASES)
    for name, case in results["cases"].items():
        assert [trial["seed"] for trial in case["trials"]] == [0, 1]
        for trial in case["trials"]:
            assert len(trial["r2_per_source"]) == 3
            assert set(trial["loss_gaps"]) == set(CASES[name].alternatives)
        assert case["theorem_says"] == ("found" if name == "holds" else "lost")
    assert {"protocol", "config", "hardware", "versions", "commit", "seconds"} <= set(results)
    with Image.open(folder / "picture.png") as picture:
        assert min(picture.size) > 600


def test_sources_not_found_after_twenty_steps_are_not_as_the_theorem_says(tiny):
    assert tiny.results["as_the_theorem_says"] is False
    assert tiny.results["cases"]["holds"]["as_said"] is False
    assert "not found" in tiny.results["cases"]["holds"]["verdict"]


def trials(name: str, *scores: float, gap: float) -> list:
    """Trials of a case with these R² and one loss gap."""
    found = [SimpleNamespace(r2=score) for score in scores]
    problem = Problem(name)
    return [SimpleNamespace(problem=problem, learned=one, gaps={"x": gap}) for one in found]


def test_a_lost_case_must_lie_below_the_threshold_and_below_the_case_that_holds():
    blind = trials("blind", 0.5, 0.7, gap=0.0)
    assert judge(blind, 0.99, None).as_said
    assert judge(blind, 0.99, 0.71).as_said
    assert not judge(blind, 0.99, 0.69).as_said
    assert not judge(blind, 0.69, None).as_said


def test_a_loss_that_excludes_wrong_latents_is_not_that_of_a_lost_case():
    assert not judge(trials("blind", 0.5, gap=0.05), 0.99, None).as_said


def test_the_case_that_holds_needs_every_seed_and_every_gap():
    holds = trials("holds", 0.991, 0.999, gap=0.05)
    assert judge(holds, 0.991, None).as_said
    assert not judge(holds, math.nextafter(0.991, 1), None).as_said
    equal = trials("holds", 0.999, gap=0.0)
    assert not judge(equal, 0.99, None).as_said
    assert not judge_all({"holds": equal}, 0.99)["holds"].as_said


def test_the_command_says_what_came_and_what_is_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with few_samples():
        main(["theorem", "cases=blind", "seeds=2", *TINY, "accelerator=cpu", "folder=old_name"])
    shown = capsys.readouterr().out
    for words in ("the theorem as a check", "blind, seed 2", "every case agrees", "next: "):
        assert words in shown
    assert "in old_name" in shown
    assert (tmp_path / "old_name" / "picture.png").is_file()


def test_the_same_command_gives_the_same_numbers_again(tmp_path):
    found = []
    for name in ("first", "second"):
        with few_samples():
            main(["theorem", "cases=[singular]", "seeds=[1]", *TINY, f"output={tmp_path / name}"])
        results = json.loads((tmp_path / name / "results.json").read_text())
        found.append(results["cases"]["singular"]["r2"])
    assert found[0] == found[1]


def test_the_schema_knows_the_cases():
    assert tuple(CASES) == theorem_schema.CASES


REFUSED = {
    "cases=[]": "cases: expected at least one",
    "cases=[blond]": "cases: expected holds, non_gaussian, singular or blind, got 'blond'",
    "cases=[holds,holds]": "cases: expected distinct entries, got holds 2 times",
    "seeds=[-1]": "seeds: expected a whole number from 0",
    "sedes=[1]": "unknown key sedes: did you mean seeds?",
    "steps=0": "steps: expected a number from 1",
    "batch_size=4": "batch_size: expected a number from 8",
    "lr=0": "lr: expected a number above 0",
    "threshold=2": "threshold: expected a number above 0 and below 1",
    "entropy=vicreg": "entropy: expected one of kernel, neighbour",
    "entropy=no": "entropy: expected one of kernel, neighbour",
    "accelerator=tpu": "accelerator: expected auto, gpu",
    "entropy_kwargs.ridge=1": "unknown key entropy_kwargs.ridge",
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
    results = run(f"output={tmp_path}").results
    assert results["as_the_theorem_says"]
    cases = {name: [one["r2"] for one in case["trials"]] for name, case in results["cases"].items()}
    assert min(cases.pop("holds")) >= 0.99
    assert max(max(values) for values in cases.values()) < 0.98
