"""Arguments: paths as they are meant, others with a line on how to quote them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from solo_ldm.cli import run_command
from solo_ldm.commands.compare.entries import prepare_entries
from solo_ldm.commands.compare.schema import complete_compare
from solo_ldm.commands.knn.schema import KnnConfig
from solo_ldm.commands.zeroshot.schema import ZeroShotConfig
from solo_ldm.config.overrides import Arguments, for_hydra
from solo_ldm.run.configuration import RunConfig, complete
from tests.support.refusals import assert_refused

NAMES = [
    "a-ep=99.ckpt", "my(images)", "[red]", "a,b", "a b", "it's", 'say "x"', "{}", "{a: b}", "a\\b",
    "a\\'", "choice(a,b)", "1e3", "007", "true", "'", "a#b", "50%", "a:b", "a[b", "$x", "né", "+a",
    "a;b", "?*", "a=b=c", "a\tb", " a ", "tail\\",
]  # fmt: skip


def values(*arguments: str, positional: str | None = None, schema: type = RunConfig) -> dict:
    """Return what Hydra reads in arguments, by key."""
    made = for_hydra(Arguments.read(arguments), schema, positional)
    parsed = OverridesParser.create().parse_overrides(made)
    return {one.key_or_group: one.value() for one in parsed}


@pytest.mark.parametrize("there", [False, True])
def test_a_path_is_the_text_that_was_given(tmp_path, monkeypatch, there):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        if there:
            Path(name).touch()
        keys = ("data.train_path", "checkpoint.dir", "resume_from_checkpoint")
        given = (f"data.train_path={name}", f"output={name}", f"resume_from_checkpoint={name}")
        assert values(*given) == dict.fromkeys(keys, name)
        positional = "pretrained_feature_extractor"
        if there or not re.fullmatch(r"[\w.]+=.*", name):
            read = values("k=3", name, positional=positional, schema=KnnConfig)
            assert read == {"k": 3, positional: name}


def test_a_path_of_a_folder_in_quotes_null_or_an_interpolation_stays_what_hydra_makes_of_it():
    read = values("data.val_path='a=b'", "data.train_path=null", "checkpoint.dir=runs/${name}")
    assert read == {
        "data.val_path": "a=b",
        "data.train_path": None,
        "checkpoint.dir": "runs/${name}",
    }
    listed = values("data.path=[a-ep=1.npz, b.npz]")
    assert [str(one) for one in listed["data.path"]] == ["a-ep=1.npz", "b.npz"]
    assert values("data.train_path=~/x")["data.train_path"] == str(Path("~/x").expanduser())


def test_keys_of_the_schema_are_taken_whether_or_not_a_yaml_lists_them(tmp_path, capsys):
    mine = "augmentations: [{crop_size: 8, num_crops: 2}]\ndata: {dataset: digits}\n"
    (tmp_path / "mine.yaml").write_text(f"{mine}optimizer: {{kwargs: {{eps: 1}}}}\n")
    given = ["seed=1", "+max_epochs=1e1", "optimizer.kwargs={betas:[0.9,0.95]}", "trainer={}"]
    given += ["evaluation.protocols=knn-20", "accumulate_grad_batches=2.0"]
    start = ["--config-path", str(tmp_path), "--config-name", "mine"]
    run_command("pretrain", [*start, *given, "--cfg", "job"])
    cfg = complete(OmegaConf.create({"method": "ldm", **yaml.safe_load(capsys.readouterr().out)}))
    assert cfg.optimizer.kwargs == {"eps": 1, "betas": [0.9, 0.95]}
    assert (cfg.seed, cfg.max_epochs, cfg.accumulate_grad_batches) == (1, 10, 2)
    assert all(type(one) is int for one in (cfg.max_epochs, cfg.accumulate_grad_batches))
    assert cfg.evaluation.protocols == ["knn-20"]
    assert_refused(
        "pretrain",
        [
            ([*start, "data=digits"], "got digits; set data.dataset=digits"),
            ([*start, "method=simclr"], "set method=solo/simclr (solo-learn's, with SOLO_LEARN="),
        ],
        capsys,
    )


def test_a_value_of_another_kind_is_told_what_to_set(capsys):
    start = ["--config-name", "gaussprob"]
    told = {
        "optimizer=sgd": "got sgd; set optimizer.name=sgd",
        "auto_resume=false": "expected a mapping, got False; set auto_resume.enabled=false",
        "backbone=resnet18": "set backbone.name=resnet18",
        "=3": "=3: expected KEY=VALUE",
        "seed=null": "seed: expected a whole number, got null",
        "max_epochs=": "max_epochs: expected a whole number, got nothing",
        "max_epochs=1.5": "max_epochs: expected a whole number, got 1.5",
        "trainer=null": "trainer: expected a mapping, got null; {} is none",
        "evaluation.protocols=null": "expected a list of texts, got null; [] is none",
        "method_kwargs.temperature=0.01": "set method_kwargs.prediction_precision=100 and kernel_",
    }
    assert_refused("pretrain", [([*start, one], words) for one, words in told.items()], capsys)
    assert_refused(
        "knn", [([], "missing key pretrained_feature_extractor: give WEIGHTS as the first")], capsys
    )


def test_a_yaml_that_is_no_name_is_named_with_what_to_give(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("cfg").mkdir()
    for name in ("cfg/mine.yaml", "cfg/other.yml", "here.yaml"):
        Path(name).touch()
    told = {
        "cfg/mine.yaml": "cfg/mine.yaml is a file: give --config-path cfg --config-name mine",
        "here": "here.yaml is a file: give --config-path . --config-name here",
        "cfg/other.yml": "cfg/other.yml is a file: rename it to other.yaml and give --config-path",
    }
    cases = [(["--config-name", name], words) for name, words in told.items()]
    cases.append((["--config-path", "cfg", "--config-name", "other"], "rename it to other.yaml"))
    assert_refused("pretrain", cases, capsys)


def test_a_file_whose_name_looks_like_a_key_is_the_positional_argument_where_it_is_there(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("k=3").touch()
    (override,) = for_hydra(Arguments.read(["k=3"]), KnnConfig, "pretrained_feature_extractor")
    assert override == "++pretrained_feature_extractor='k=3'"


def test_hydra_composes_the_paths_of_a_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"data.train_path": "my(images)", "checkpoint.dir": "out [v2]=a, b"}
    pairs = [f"{key}={name}" for key, name in names.items()]
    run_command("pretrain", ["--config-name", "gaussprob", *pairs, "--cfg", "job"])
    cfg = OmegaConf.create(capsys.readouterr().out)
    assert {key: OmegaConf.select(cfg, key) for key in names} == names


def test_paths_of_a_comparison_s_overrides_are_taken_as_they_are_meant():
    cfg = OmegaConf.create(
        {
            "methods": ["gaussprob"],
            "overrides": ["data=image_folder", "data.train_path=a=(b)"],
            "seeds": [0],
            "train": False,  # there are no such images
        }
    )
    (entry,) = prepare_entries(complete_compare(cfg))
    assert entry.cfg.data.train_path == "a=(b)"


UNREADABLE = ["name=my(run)", "name=a=b", "name=[a", "name=a'b", "name=a,b", 'name=a"(b', "name={a"]


def test_a_value_that_hydra_cannot_read_is_named_with_quotes_that_let_it(capsys):
    start = ["--config-name", "gaussprob"]
    assert_refused("pretrain", [([*start, one], f"{one}: ") for one in UNREADABLE], capsys)
    for one in UNREADABLE:
        with pytest.raises(ValueError, match=r"Hydra|a text") as refused:
            values(one)
        (told,) = re.findall(r"quote it: (.*)$|is a list, (.*) a text$", str(refused.value))
        (quoted,) = shlex.split("".join(told))
        assert values(quoted) == {"name": one.removeprefix("name=")}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("prompts=[a photo of a {}, in ink]", ["a photo of a {}, in ink"]),
        ("prompts=[in ink, a {}!,{}]", ["in ink, a {}!", "{}"]),
        ("prompts=a photo of a {}", ["a photo of a {}"]),
        ("prompts=[someone's {},a {}]", ["someone's {}", "a {}"]),
        ('prompts=[the "{}" here,"a {}"]', ['the "{}" here', "a {}"]),
        ("prompts=[$HOME {},`id` {}]", ["$HOME {}", "`id` {}"]),
        ("class_names=zero,one", ["zero", "one"]),
        ("class_names=[a(b),c d]", ["a(b)", "c d"]),
    ],
)
def test_a_list_that_hydra_cannot_read_is_told_as_bash_takes_it(given, meant):
    with pytest.raises(ValueError, match=r"quote each text of the list|is a list") as refused:
        values(given, schema=ZeroShotConfig)
    told = re.search(
        r"quote each text of the list: (.*)$|another, (.*) is a list", str(refused.value)
    )
    assert told is not None
    (argument,) = in_bash(told[1] or told[2])
    assert values(argument, schema=ZeroShotConfig) == {given.partition("=")[0]: meant}


def in_bash(words: str) -> list[str]:
    """Return the arguments that bash makes of words."""
    command = ["bash", "-c", f"printf '%s\\0' {words}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")[
        :-1
    ]


def test_what_is_no_override_or_option_is_one_line(capsys):
    start = ["--config-name", "gaussprob"]
    assert_refused(
        "pretrain",
        [
            ([*start, "foo"], "foo: expected KEY=VALUE"),
            ([*start, "na me=a"], "na me=a: expected KEY=VALUE, where KEY is of letters"),
            ([*start, "checkpoint.dir="], "checkpoint.dir: expected a path, got nothing"),
            ([*start, "output="], "checkpoint.dir: expected a path, got nothing"),
            (["--confg-name", "gaussprob"], "did you mean --config-name?"),
            (["--config-name"], "--config-name/-cn: expected one argument"),
            ([*start, "--foo=1"], "unknown option --foo=1"),
            ([*start, "--config-dir", "nowhere"], "--config-dir: expected a folder"),
            (["--config-path", __file__, *start], "a file; name it by --config-name"),
        ],
        capsys,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "a/b", "k=1,5"],
        ["a/b", "-m", "k=1,5"],
        ["k=1,5", "a/b", "-m"],
        ["a/b", "k=1,5", "--multirun", "--config-dir", "."],
    ],
)
def test_options_and_the_positional_argument_stand_anywhere(arguments):
    given = Arguments.read(arguments)
    assert given.multirun
    assert given.flags == [one for one in arguments if one not in given.overrides]
    made = set(for_hydra(given, KnnConfig, "pretrained_feature_extractor"))
    assert made == {"++k=1,5", "++pretrained_feature_extractor='a/b'"}


def test_a_sweep_over_paths_is_over_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swept = ["-m", "data.train_path=a=1,b(2)"]
    (made,) = for_hydra(Arguments.read(swept), RunConfig)
    assert made == "++data.train_path='a=1','b(2)'"
    Path("a=1,b(2)").touch()
    (made,) = for_hydra(Arguments.read(swept), RunConfig)
    assert made == "++data.train_path='a=1,b(2)'"
