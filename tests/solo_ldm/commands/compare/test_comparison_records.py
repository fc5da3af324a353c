"""Comparisons: finished runs as small files, and folders that several comparisons share."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_ldm.commands.compare import runs as compare_runs
from solo_ldm.commands.compare import workers
from solo_ldm.commands.compare.entries import prepare_entries
from solo_ldm.commands.compare.records import Records, on_same_data
from solo_ldm.commands.compare.runs import OFFLINE, Result, Run, find_result
from solo_ldm.commands.compare.schema import complete_compare
from solo_ldm.commands.compare.waiting import Waiting, locked
from solo_ldm.commands.compare.workers import train_all
from solo_ldm.run.folder import RunFolder, choose_run
from solo_ldm.run.record import Outcome
from tests.solo_ldm.commands.compare.test_comparison_runs import SMALL, toy_comparison
from tests.support.studies.fabricated import result


def finish(cfg: DictConfig, _: Any = None) -> Outcome:
    """Leave what a run leaves, without the training."""
    folder = choose_run(cfg)
    folder.path.mkdir(parents=True)
    folder.args.write_text(json.dumps(OmegaConf.to_container(cfg)))
    content = result("x", cfg.seed, 0.8).results
    content["results"] = {one: content["results"][one] for one in cfg.evaluation.protocols}
    folder.results.write_text(json.dumps(content))
    return Outcome(RunFolder(folder.path), content)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the runs that were trained; nothing is."""
    seeds: list[int] = []

    def pretrain(cfg: DictConfig, console: Console) -> Outcome:
        seeds.append(cfg.seed)
        return finish(cfg)

    monkeypatch.setattr(compare_runs, "pretrain", pretrain)
    return seeds


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Run]]:
    """Make runs of simclr with seeds 0 and 1 in a folder of their own."""
    shared = tmp_path_factory.mktemp("shared")
    cfg = complete_compare(toy_comparison(shared, methods=["simclr"]))
    (entry,) = prepare_entries(cfg)

    def runs(folder: Path, **changes: Any) -> list[Run]:
        made = []
        for seed, one in entry.runs.items():
            own = one.copy()
            own.checkpoint.dir = str(folder)
            for key, value in changes.items():
                OmegaConf.update(own, key, value)
            made.append(Run("simclr", seed, own, entry.data))
        return made

    return runs


def test_a_run_is_found_by_its_record_where_its_weights_are_not(made, tmp_path):
    said: list[str] = []
    first, second = made(tmp_path / "here")
    kept = result("simclr", 0, 0.8)
    Records(tmp_path / "records", said.append).keep(first, kept)
    (file,) = (tmp_path / "records").iterdir()
    assert file.name.startswith(first.cfg.name)

    there = made(tmp_path / "there", **{"data.train_path": "/another/place"})
    records = Records(tmp_path / "records", said.append)
    found = records.find(there[0])
    assert found is not None
    assert (found.results, found.path) == (kept.results, str(file))
    assert records.find(second) is None
    (other, _) = made(tmp_path, max_epochs=2)
    assert records.find(other) is None

    # A key that a later version adds has its default; another set of images is another run.
    record = json.loads(file.read_text())
    del record["configuration"]["sync_batchnorm"]
    file.write_text(json.dumps(record))
    assert Records(tmp_path / "records", said.append).find(first) is not None
    assert said == []
    record["data"]["contents"] = "0123"
    file.write_text(json.dumps(record))
    assert Records(tmp_path / "records", said.append).find(first) is None
    assert "was trained on other data" in said[0]
    file.write_text("{}")
    with pytest.raises(ValueError, match="records: expected the record of a run") as error:
        Records(tmp_path / "records", said.append).find(first)
    assert "\n" not in str(error.value)


def test_a_comparison_writes_records_and_goes_on_from_them(tmp_path, trained):
    from solo_ldm.commands.compare import compare

    cfg = {"methods": ["simclr"], "records": str(tmp_path / "records")}
    compare(toy_comparison(tmp_path / "one", seeds=[0], **cfg), Console(quiet=True))
    assert trained == [0]
    ended = compare(toy_comparison(tmp_path / "two", **cfg), Console(quiet=True))
    assert trained == [0, 1]
    assert len(ended.finished) == len(list((tmp_path / "records").iterdir())) == 2
    # Nothing is trained and no data are opened where that is asked for.
    drawn = {**cfg, "train": False, "overrides": [*SMALL, "data=cifar10", "data.train_path=none"]}
    with pytest.raises(ValueError, match="train=false: expected runs that are finished"):
        compare(toy_comparison(tmp_path / "three", **drawn), Console(quiet=True))
    assert not list((tmp_path / "three").glob("*/*"))
    drawn = {**cfg, "train": False, "seeds": [0, 1, 2]}
    partial = compare(toy_comparison(tmp_path / "three", **drawn), Console(quiet=True))
    assert (len(partial.finished), partial.failed, trained) == (2, [], [0, 1])
    text = (tmp_path / "three" / "comparison" / "table.md").read_text()
    assert "| 1 | simclr | sphere, kernel, pooled | 2 |" in text
    assert "Every seed is scored on the same test images" in text
    # One of other data than the two others, and a method without a run, are left out by name.
    (file, *_) = (tmp_path / "records").iterdir()
    other = json.loads(file.read_text())
    other["configuration"]["seed"] = 2
    other["data"]["contents"] = "0123"
    other["results"]["seed"] = 2
    (tmp_path / "records" / "other.json").write_text(json.dumps(other))
    console = Console(file=io.StringIO(), width=200)
    drawn["methods"] = ["simclr", "vicreg"]
    partial = compare(toy_comparison(tmp_path / "four", **drawn), console)
    said = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "left out: 1 of 3 runs, on other data than the others: simclr, seed 2" in said
    assert "left out: 1 of 2 methods, as no run is finished: vicreg" in said
    assert ([one.label for one in partial.standings], partial.seeds) == (["simclr"], (0, 1))
    (tmp_path / "records" / "other.json").unlink()
    # Weights without records write them.
    cfg["records"] = str(tmp_path / "again")
    compare(toy_comparison(tmp_path / "two", seeds=[1], **cfg), Console(quiet=True))
    assert trained == [0, 1]
    assert len(list((tmp_path / "again").iterdir())) == 1


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("results", "versions", "solo_ldm"), None, "no results.versions.solo_ldm"),
        (("results",), {}, "no results.results"),
        (("configuration",), {}, "no configuration.method"),
        (("configuration", "method_kwargs"), 3, "its configuration: "),
        (("data",), {}, "no data.contents"),
        (("results", "seconds"), "long", "a str as results.seconds"),
        (("results", "results", "knn-20", "top1"), None, "no results.results.knn-20.top1"),
    ],
)
def test_a_record_that_is_not_whole_is_named_in_one_line(made, tmp_path, keys, value, told):
    (run, _) = made(tmp_path)
    Records(tmp_path, print).keep(run, result("simclr", 0, 0.8))
    (file,) = tmp_path.iterdir()
    record = place = json.loads(file.read_text())
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=re.escape(f"in {file}, got {told}")) as error:
        Records(tmp_path, print).find(run)
    assert str(error.value).endswith("; move the file away")
    assert "YAML" not in str(error.value)
    assert "\n" not in str(error.value)


def test_runs_on_other_data_than_most_are_left_out_by_name(made, tmp_path):
    first, second = made(tmp_path)
    (third, _) = made(tmp_path, max_epochs=2)  # a method of another budget on the same data
    (apart, _) = made(tmp_path, **{"data.train_path": "/another/place"})  # as it is configured

    def ended(*contents: str | None) -> dict[Run, Result]:
        runs = zip((first, second, third, apart), contents, strict=False)
        return {run: replace(result(run.label, run.seed, 0.8), contents=one) for run, one in runs}

    said: list[str] = []
    for contents in (("a", "a", "a", "b"), ("a", None, "a", None), (None, None)):
        assert on_same_data(ended(*contents), said.append) == ended(*contents)
    assert said == []
    assert list(on_same_data(ended("a", "b", "a"), said.append)) == [first, third]
    fewer = ended("a", "a", "a")
    fewer[third].results["num_train_images"] = 17
    assert list(on_same_data(fewer, said.append)) == [first, second]
    assert said == [
        f"left out: 1 of 3 runs, on other data than the others: simclr, seed {seed} "
        f"(runs/simclr-{seed})"
        for seed in (1, 0)
    ]
    with pytest.raises(ValueError, match="got 1 on one and 1 on other data: simclr, seed 1"):
        on_same_data(ended("a", "b"), said.append)


def test_what_another_comparison_trains_is_waited_for_and_taken_over(
    made, tmp_path, trained, monkeypatch
):
    runs = made(tmp_path)
    theirs = ExitStack()
    assert theirs.enter_context(locked(runs[0]))  # another machine trains seed 0

    def others_end(_: float) -> None:
        assert trained == [1]
        finish(runs[0].cfg)
        theirs.close()

    monkeypatch.setattr(workers.time, "sleep", others_end)
    ended = list(train_all(Waiting(runs), 1))
    assert trained == [1]
    assert sorted(one.seed for one in ended) == [0, 1]
    assert all(isinstance(one, Result) and one.finished for one in ended)
    for file in (tmp_path / "locks").iterdir():
        FileLock(file).acquire(timeout=0).lock.release()


def test_a_finished_run_without_linear_offline_gets_it_alone(made, tmp_path, trained, monkeypatch):
    given: list[DictConfig] = []

    def linear(cfg: DictConfig, console: Console) -> Any:
        given.append(cfg)
        return Outcome(RunFolder(tmp_path), {"top1": 0.7})

    monkeypatch.setattr(compare_runs, "linear", linear)
    (run, _) = made(tmp_path)
    compare_runs.train(run)
    with_it = made(tmp_path, **{"evaluation.protocols": ["knn-20", "linear-features", OFFLINE]})
    assert find_result(with_it[0]) is None
    for one in with_it:
        ended = compare_runs.train(one)
        assert ended.error is None
        assert ended.top1(OFFLINE) == 0.7
        found = find_result(one)
        assert found is not None
        assert found.results == ended.results
    assert trained == [0, 1]
    assert [one.seed for one in given] == [0, 1]
    assert given[0].pretrained_feature_extractor == found_folder(run)


def found_folder(run: Run) -> str:
    found = find_result(run)
    assert found is not None
    return str(found.path)
