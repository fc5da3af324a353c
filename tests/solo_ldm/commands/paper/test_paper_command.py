"""`solo-ldm paper`: runs what is not recorded, within a budget, and writes the page."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from solo_ldm.cli import main
from solo_ldm.commands.paper import work as work_module
from solo_ldm.commands.paper.command import command
from solo_ldm.commands.paper.reading import load_registry
from solo_ldm.commands.paper.records import Records, identity
from solo_ldm.commands.paper.report import GALLERY, gallery, number, render
from solo_ldm.commands.paper.verdicts import judge, judge_all
from solo_ldm.commands.paper.work import Task, Worker
from solo_ldm.run.console import plain_console
from tests.solo_ldm.commands.paper.conftest import CLAIMS, RUNS
from tests.support import ROOT


@pytest.fixture
def work(tmp_path, registry, commands):
    def do(*arguments, budget="60"):
        folders = ["--folder", str(tmp_path / "docs/paper"), "--runs", str(tmp_path / "runs")]
        words = ["run", *arguments, "--budget", budget, "--jobs", "1", *folders]
        code = command(words, registry=registry)
        return code, [words for words in commands]

    return do


def test_a_seed_of_every_claim_before_the_next(work, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    code, given = work("--data", f"images={images}", "--seeds", "2")
    assert code == 0
    assert [words[0] for words in given] == ["ica", "ica", "knn", "knn"] * 2
    assert [words[1] for words in given if words[0] == "ica"] == ["seed=0"] * 2 + ["seed=1"] * 2
    page = (tmp_path / "docs/paper.md").read_text()
    assert "A and b differ" in page
    assert "a − b 20.00" in page
    # The second command reads the folder of the first at the same seed and level.
    assert given[2][1] == given[0][3].removeprefix("output=")


def test_what_is_recorded_is_not_run_again(work, tmp_path):
    work("differs", "--seeds", "1")
    _, given = work("differs", "--seeds", "2")
    assert [words[1] for words in given] == ["seed=0", "seed=0", "seed=1", "seed=1"]


def test_budget(work, tmp_path, capsys):
    code, given = work("differs", "--seeds", "1", budget="1.5")
    assert code == 0
    assert not given
    assert "2 runs did not fit into the budget" in capsys.readouterr().out


def test_data_that_are_not_given(work, tmp_path, capsys):
    code, given = work("--seeds", "1")
    assert code == 0
    assert {words[0] for words in given} == {"ica"}
    assert "2 runs of second want --data images=PATH" in capsys.readouterr().out
    assert "not measured" in (tmp_path / "docs/paper.md").read_text()


def test_a_run_that_fails(work, tmp_path, capsys):
    code, _ = work("differs")
    assert code == 1
    shown = capsys.readouterr().out
    assert "first b seed 2: exit code 2: learning rate too high" in shown
    records = list((tmp_path / "docs/paper/records").iterdir())
    assert len(records) == 4  # seeds 0 and 1 are there


def test_an_interruption_ends_what_runs(tmp_path, registry, monkeypatch):
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = []

    def popen(words, **rest):
        started.append(real(sleeping, **rest))
        return started[-1]

    def interrupted(seconds):
        raise KeyboardInterrupt

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(work_module.time, "sleep", interrupted)
    worker = Worker(registry, Records(tmp_path, registry), tmp_path, {}, 2)
    tasks = worker.tasks([registry.claims["differs"]])
    with pytest.raises(KeyboardInterrupt):
        worker.work(tasks, 60, plain_console(quiet=True))
    assert [one.returncode for one in started] == [-signal.SIGTERM] * 2


def test_results_without_the_number(tmp_path, commands, capsys):
    other = load_registry(RUNS, CLAIMS.replace("value: score,", "value: score.mean,"))
    folders = ["--folder", str(tmp_path / "p"), "--runs", str(tmp_path / "r"), "--seeds", "1"]
    assert command(["run", "differs", *folders], registry=other) == 1
    assert "has no number at score.mean" in capsys.readouterr().out
    assert not list((tmp_path / "p").glob("records/*"))


def test_another_argument_is_another_record(registry):
    run = registry.runs["first"]
    changed = load_registry(RUNS.replace("ica seed", "ica steps=5 seed"), CLAIMS)
    records = Records(Path("x"), registry), Records(Path("x"), changed)
    point = (("kind", "a"),)
    paths = [one.path(one.registry.runs[run.name], point, 0) for one in records]
    assert paths[0] != paths[1]
    # … and one of the runs that read it.
    later = [one.path(one.registry.runs["second"], point, 0) for one in records]
    assert later[0] != later[1]


@pytest.mark.parametrize(
    ("runs", "claims", "says"),
    [
        (RUNS.replace("minutes: 2", "minuts: 2"), CLAIMS, "minuts: did you mean minutes"),
        (RUNS.replace("run[first]", "run[frist]"), CLAIMS, "got frist: did you mean first"),
        (RUNS, CLAIMS.replace("above: 5", "aboev: 5"), "got aboev: did you mean above"),
        (RUNS, CLAIMS.replace(", above: 5", ""), "expected one of above, below"),
        (RUNS, CLAIMS.replace("value: score,", "value: '[',"), r"differs.a: \["),
        (RUNS, CLAIMS.replace("kind: b", "kind: c"), "no run has the levels"),
        (RUNS.replace("ica seed", "ica {run[second]} seed"), CLAIMS, "first → second → first"),
        (RUNS.replace("seed={seed}", "seed={sead}"), CLAIMS, "got {sead}"),
        (RUNS.replace("seeds: 2", "seeds: 0"), CLAIMS, "second.seeds: expected"),
        (RUNS, CLAIMS.replace("above: 5", "across: [knd], above: 5"), "got knd: did you mean"),
        (RUNS, CLAIMS.replace("above: 5", "above: abc"), "above: expected a number, got abc"),
        (RUNS, CLAIMS.replace("above: 5", "between: 5"), "between: expected two numbers, got 5"),
        (RUNS, CLAIMS.replace("above: 5", "correlates: b, above: 5"), "one of minus, correlates"),
        (RUNS, CLAIMS.replace("run: second", "run: secnd"), "got secnd: did you mean second"),
    ],
)
def test_a_registry_that_is_not_whole(runs, claims, says):
    with pytest.raises(ValueError, match=says):
        load_registry(runs, claims)


def test_records_of_other_data_are_not_gone_on_with(tmp_path, registry, commands, capsys):
    images, folder = tmp_path / "images", tmp_path / "p"
    images.mkdir()
    (images / "one.png").write_bytes(b"one")
    options = ["--folder", str(folder), "--runs", str(tmp_path / "r"), "--seeds", "1"]
    given = ["run", "follows", *options, "--data", f"images={images}"]
    assert command(given, registry=registry) == 0
    (record,) = folder.glob("records/second-a-*")
    assert json.loads(record.read_text())["data"] == {"images": identity(images)}
    (images / "two.png").write_bytes(b"two")
    with pytest.raises(ValueError, match=r"--data: expected the images that .* measured on"):
        command(given, registry=registry)


def test_the_identity_of_data_is_that_of_its_content(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(content)
    a, b, c = (tmp_path / name for name in "abc")
    assert identity(a) == identity(b) != identity(c)
    assert identity(a / "file") == identity(b / "file") != identity(c / "file")


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path, commands):
    registry, folder = load_registry(RUNS, CLAIMS), tmp_path / "docs"
    folder.mkdir()
    (folder / "differs.png").write_bytes(b"mine")
    options = ["--folder", str(folder), "--runs", str(tmp_path / "r")]
    with pytest.raises(ValueError, match="expected a new folder"):
        command(["report", *options], registry=registry)
    (folder / "records").mkdir()
    (folder / "gallery.md").write_text("mine")
    with pytest.raises(ValueError, match=r"gallery\.md, which is another file"):
        command(["report", *options], registry=registry)
    assert (folder / "differs.png").read_bytes() == b"mine"
    assert not (tmp_path / "docs.md").exists()


def test_a_budget_that_nothing_fits_into_says_so(tmp_path, commands, capsys):
    registry = load_registry(RUNS, CLAIMS)
    options = ["--folder", str(tmp_path / "p"), "--runs", str(tmp_path / "r"), "--budget", "0.01"]
    assert command(["run", "differs", *options], registry=registry) == 0
    assert "the shortest run takes about 2 minutes; raise --budget" in capsys.readouterr().out


def test_an_optional_claim_is_on_the_page_once_it_is_measured(tmp_path, commands):
    registry = load_registry(RUNS, CLAIMS.replace('figure: "1"', 'figure: "1"\n  optional: true'))
    options = ["--folder", str(tmp_path / "p"), "--runs", str(tmp_path / "r")]
    assert command(["report", *options], registry=registry) == 0
    page = tmp_path / "p.md"
    assert "The second run follows." in page.read_text()
    assert "A and b differ." not in page.read_text()
    assert command(["run", "differs", *options, "--seeds", "1"], registry=registry) == 0
    assert "A and b differ." in page.read_text()


def recorded(registry, folder, kind="a", seed=0):
    records, run = Records(folder, registry), registry.runs["first"]
    assert not records.keep(run, (("kind", kind),), seed, {"score": 0.5}, 1.0)
    return records, records.path(run, (("kind", kind),), seed)


@pytest.mark.parametrize(
    "damage",
    ["{}", "[]", '{"values": null}', "not JSON", '{"values": {"score": "0.9"}}', None],
)
def test_a_damaged_record_is_one_line(registry, tmp_path, damage):
    records, path = recorded(registry, tmp_path)
    if damage is None:
        damage = path.read_text().replace('"minutes": 1.0', '"minutes": null')
    path.write_text(damage)
    with pytest.raises(ValueError, match=path.name):
        judge(registry.claims["differs"], records)


def test_a_record_of_another_seed_is_refused(registry, tmp_path):
    records, path = recorded(registry, tmp_path)
    other = records.path(registry.runs["first"], (("kind", "a"),), 1)
    other.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="expected the record of seed 1, got 0; remove it"):
        judge(registry.claims["differs"], records)


def test_figures_of_what_is_no_longer_recorded_are_removed(work, tmp_path, registry):
    work("differs", "--seeds", "1")
    folder = tmp_path / "docs/paper"
    assert (folder / "differs.png").stat().st_size
    assert (folder / "differs.pdf").exists()
    shutil.rmtree(folder / "records")
    command(["report", "--folder", str(folder)], registry=registry)
    assert not list(folder.glob("differs.*"))
    assert "differs.png" not in (tmp_path / "docs/paper.md").read_text()


def test_the_page_takes_no_other_files_place(registry, tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(ValueError, match="which is another file; rename one"):
        command(["report", "--folder", str(tmp_path / "README")], registry=registry)
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected a folder with a name"):
        command(["run", "--folder", "."], registry=registry)
    command(["report", "--folder", "v1.2"], registry=registry)
    assert Path("v1.2.md").exists()


def test_two_at_once_are_refused(work, tmp_path):
    (tmp_path / "runs").mkdir()
    with (
        FileLock(tmp_path / "runs" / ".lock"),
        pytest.raises(ValueError, match="expected a folder in which nothing runs"),
    ):
        work("differs")


def test_a_damaged_result_costs_its_run_alone(work, tmp_path, monkeypatch, capsys):
    kept = Records.keep

    def keep(self, run, point, seed, *rest):
        if point == (("kind", "a"),):
            raise ValueError("results.json is no JSON")
        return kept(self, run, point, seed, *rest)

    monkeypatch.setattr(Records, "keep", keep)
    code, given = work("differs", "--seeds", "1")
    assert code == 1
    assert len(given) == 2
    assert "first a seed 0" in capsys.readouterr().out
    assert len(list((tmp_path / "docs/paper/records").iterdir())) == 1
    assert (tmp_path / "docs/paper.md").exists()


def test_unknown_names(registry, tmp_path):
    for words, says in (
        (["run", "difers"], "did you mean differs"),
        (["run", "--data", "image=x"], "expected NAME=PATH of images, got image=x"),
    ):
        with pytest.raises(ValueError, match=says):
            command([*words, "--folder", str(tmp_path / "p")], registry=registry)
    assert not (tmp_path / "p.md").exists()


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(0.99123, 0.0021, "0.9912"), (-1.355, 1.02, "−1.4"), (71.4, 12.0, "71"), (2.0, 0.0, "2.000")],
)
def test_numbers_have_two_digits_of_their_error(value, error, text):
    assert number(value, error) == text


@pytest.mark.parametrize("run", [run for run in load_registry().runs.values() if run.command])
def test_every_command_of_the_registry_composes(run, tmp_path, capsys):
    registry = load_registry()
    data = dict.fromkeys(registry.needs(run), str(tmp_path))
    worker = Worker(registry, Records(tmp_path, registry), tmp_path, data, 1)
    for point in run.points():
        main([*worker.command(Task(run, point, 3)), "--cfg", "job"])
        assert str(worker.place(run, point, 3)) in capsys.readouterr().out


def test_the_page_is_what_the_records_give():
    registry = load_registry()
    folder = ROOT / "docs/paper"
    records = Records(folder / "records", registry, ROOT)
    judgements = judge_all(registry, records)
    assert (folder / GALLERY).read_text() == gallery(folder, judgements)
    page = (ROOT / "docs/paper.md").read_text()
    assert page == render(folder, registry, records, judgements)
    for one in judgements:
        assert one.verdict in page


def test_every_record_is_of_a_run_of_the_registry():
    """None is left over from a command that has changed."""
    registry = load_registry()
    records = Records(ROOT / "docs/paper/records", registry)
    named = {
        records.path(run, point, seed)
        for run in registry.runs.values()
        for point in run.points()
        for seed in range(run.seeds)
    }
    assert {*(ROOT / "docs/paper/records").glob("*.json")} <= named
