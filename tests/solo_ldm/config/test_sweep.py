"""A sweep runs every job, and says at its end which failed and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from solo_ldm.cli import run_command
from solo_ldm.config.places import results_folder
from tests.support.processes import run_child
from tests.support.studies import toy_launcher

SMALL = [
    "max_epochs=1", "scheduler.warmup_epochs=0", "data.num_workers=0", "data.fraction=0.1",
    "data.format=torchvision", "+backbone.kwargs.width=8", "method_kwargs.proj_hidden_dim=16",
    "method_kwargs.proj_output_dim=8", "evaluation.protocols=[]", "evaluation.report=false",
]  # fmt: skip


def test_bad_jobs_do_not_end_a_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swept = ["optimizer.batch_size=4000,64", "data=digitss,digits", "checkpoint.dir=runs=all"]
    ended = run_child(_pretrain, ["--config-name", "gaussprob", *SMALL, *swept, "-m"])
    assert ended.code == 1, ended.printed
    assert len([*Path("runs=all").rglob("results.json")]) == 1
    *_, heading, one, two, three = ended.printed.rstrip().splitlines()
    assert heading == "3 of the jobs failed:"
    assert "job 1, optimizer.batch_size=4000 data=digitss: there is no configuration data" in one
    assert "job 2, optimizer.batch_size=4000 data=digits: expected at least one batch" in two
    assert "job 3, optimizer.batch_size=64 data=digitss: there is no configuration data" in three
    assert "job 4 of 4: optimizer.batch_size=64 data=digits\n" in ended.printed
    assert "none: evaluation.protocols=[]" in ended.printed
    assert "Traceback" not in ended.printed


def _pretrain(arguments: list[str]) -> None:
    run_command("pretrain", arguments)


def test_a_job_with_a_bug_prints_its_trace_and_the_rest_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = []

    def work(cfg, console):
        seen.append(cfg.seed)
        if cfg.seed == 2:
            raise KeyError("a bug")
        if cfg.seed == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("solo_ldm.commands.pretrain.run.run", work)
    with pytest.raises(SystemExit) as left:
        run_command("pretrain", ["-m", "--config-name", "gaussprob", "seed=1,2,0"])
    said = capsys.readouterr().err
    assert left.value.code == 1
    assert seen == [1, 2, 0]
    assert "Traceback" in said
    assert "job 2, seed=2: KeyError: 'a bug'" in said
    with pytest.raises(SystemExit) as left:
        run_command("pretrain", ["-m", "--config-name", "gaussprob", "seed=3,4"])
    assert left.value.code == 130
    assert 4 not in seen


def test_jobs_that_would_share_a_folder_have_folders_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made: list[str] = []

    def work(cfg, console):
        folder = results_folder(cfg.output or f"{cfg.pretrained_feature_extractor}/knn")
        made.append(str(folder))

    monkeypatch.setattr("solo_ldm.commands.knn.run.run", work)
    Path("a").mkdir()
    Path("b").mkdir()
    for swept, folders in {
        "a k=5,[1,20] output=kn": ["kn/k=5", "kn/k=1,20"],
        "a k=5,20": ["a/knn/k=5", "a/knn/k=20"],
        "a output=c,d": ["c", "d"],
        "a output=c,d k=5,20": ["c/k=5", "c/k=20", "d/k=5", "d/k=20"],
        "pretrained_feature_extractor=a,b": ["a/knn", "b/knn"],
        "pretrained_feature_extractor=a,b output=c": [
            f"c/pretrained_feature_extractor={one}" for one in "ab"
        ],
        "a k=5": ["a/knn"],
        "a data.dataset=digits,mnist": ["a/knn", "a/knn/job-2"],
    }.items():
        run_command("knn", ["-m", *swept.split()])
        assert made == folders, swept
        made.clear()
    assert results_folder("a") == Path("a")


def test_a_launcher_without_a_sweep_is_refused(tmp_path, monkeypatch, capsys):
    """Hydra would run here what was meant for another machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("solo_ldm.commands.knn.run.run", lambda *_: pytest.fail("it runs"))
    toy_launcher.register(monkeypatch)
    Path("a").mkdir()
    with pytest.raises(SystemExit) as left:
        run_command("knn", ["a", toy_launcher.THROUGH])
    assert left.value.code == 2
    assert "hydra/launcher: expected a sweep (-m KEY=A,B)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_command("knn", ["a", "hydra/launcher=none_such"])
    assert 'pip install "solo-ldm[clusters]"' in capsys.readouterr().err


def test_a_sweep_without_failures_ends_with_code_0(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        "solo_ldm.commands.pretrain.run.run", lambda cfg, console: seen.append(cfg.seed)
    )
    run_command("pretrain", ["--config-name", "gaussprob", "seed=range(1,4)", "-m"])
    assert seen == [1, 2, 3]
    assert "failed" not in capsys.readouterr().err


def test_a_sweep_goes_through_a_launcher_of_hydras(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    toy_launcher.register(monkeypatch)
    made: list[Path] = []

    def work(cfg, console):
        made.append(results_folder("out"))
        if cfg.k == [20]:
            raise ValueError("no number")

    monkeypatch.setattr("solo_ldm.commands.knn.run.run", work)
    Path("a").mkdir()
    swept = ["-m", "a", "k=5,20,200", toy_launcher.THROUGH]
    with pytest.raises(SystemExit) as left:
        run_command("knn", swept)
    assert left.value.code == 1
    assert made == [Path(f"out/k={k}/job-{number}") for number, k in enumerate((5, 20, 200), 1)]
    shown = capsys.readouterr()
    assert "job 2 of 3: k=20" in shown.out
    assert shown.err.endswith("1 of the jobs failed:\n  job 2, k=20: no number\n")
    with pytest.raises(SystemExit):
        run_command("knn", [*swept, "+hydra.launcher.lost=1"])
    assert len(made) == 3 + 2
    lost = "hydra/launcher: JobLostError: job 1 has not produced any output"
    assert f"  {lost}; jobs that have ended keep their runs\n" in capsys.readouterr().err
    # All jobs are composed before the first one is started.
    with pytest.raises(SystemExit) as left:
        run_command("knn", [*swept, "data=digits,digitss"])
    assert left.value.code == 2
    assert len(made) == 5
    assert results_folder("a") == Path("a")


@pytest.mark.slow
def test_a_sweep_goes_through_joblib(tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.chdir(tmp_path)
    swept = ["-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    swept.append("data.num_workers=1")
    ended = run_child(_pretrain_by_joblib, ["--config-name", "gaussprob", *SMALL, *swept])
    assert ended.code == 0, ended.printed
    assert len([*Path().rglob("results.json")]) == 2
    assert "job 2 of 2: seed=1" in ended.printed


def _pretrain_by_joblib(arguments: list[str]) -> None:
    run_command("pretrain", arguments)
    get_reusable_executor().shutdown()  # a program that ends does so, this child does not
