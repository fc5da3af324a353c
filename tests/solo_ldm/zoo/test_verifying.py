"""Verifying: published scores are measured again; and the other commands."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from solo_ldm import zoo
from solo_ldm.commands.zoo.run import run as zoo_command
from solo_ldm.weights.published.entry import TRAINING_STATE, WEIGHTS
from solo_ldm.weights.published.manifest import read_manifest, write_manifest
from solo_ldm.zoo.publishing import HUB_CONFIG


def test_verifying_gives_the_published_scores(own_zoo, capsys):
    found = zoo.verify("toy")
    assert found.passed
    assert [one.measured.value for one in found.checks] == [
        one.published.value for one in found.checks
    ]
    assert zoo_command(["verify"], Console(width=200)) == 0
    assert "same" in capsys.readouterr().out


def test_a_score_within_its_tolerance_is_close(own_zoo, capsys):
    entry = read_manifest(own_zoo)["toy"]
    moved = [replace(one, value=one.value + 0.9 * (one.tolerance or 0)) for one in entry.results]
    write_manifest(own_zoo, {"toy": replace(entry, results=moved)})
    assert zoo_command(["verify", "toy"], Console(width=200)) == 0
    printed = capsys.readouterr().out
    assert "close" in printed
    assert "same" not in printed


def test_another_score_fails(own_zoo, capsys):
    entry = read_manifest(own_zoo)["toy"]
    first = replace(entry.results[0], value=entry.results[0].value + 0.05)
    write_manifest(own_zoo, {"toy": replace(entry, results=[first, *entry.results[1:]])})
    assert not zoo.verify("toy").passed
    assert zoo_command(["verify", "toy"], Console(width=200)) == 1
    assert "not as published: toy" in capsys.readouterr().out


def test_other_data_do_not_pass(own_zoo):
    found = zoo.verify("toy", {"fraction": "0.1"})
    assert not found.same_data
    assert not found.passed


def test_a_damaged_model_does_not_stop_the_others(own_zoo, capsys):
    entry = read_manifest(own_zoo)["toy"]
    shutil.copytree(own_zoo / "weights" / "toy", own_zoo / "weights" / "broken")
    (own_zoo / "weights" / "broken" / WEIGHTS).write_bytes(b"")
    write_manifest(own_zoo, {"toy": entry, "broken": replace(entry, name="broken")})
    assert zoo_command(["verify"], Console(width=200)) == 1
    printed = capsys.readouterr().out
    assert "broken: " in printed
    assert "is not the published file: expected" in printed
    assert "same" in printed
    assert "not as published: broken" in printed


def test_a_damaged_file_that_no_score_depends_on_is_noticed(own_zoo, capsys):
    path = own_zoo / "weights" / "toy" / HUB_CONFIG
    path.write_text(path.read_text().replace("convnet_small", "convnet_smalL"))
    with pytest.raises(ValueError, match=r"config\.json is not the published file"):
        zoo.verify("toy")
    assert zoo_command(["verify"], Console(width=200)) == 1
    assert "not as published: toy" in capsys.readouterr().out


def test_a_long_name_leaves_room_for_protocols_and_scores(own_zoo, capsys):
    name = "sphere-neighbour-marginal-of-a-long-name-cifar10-jpeg"
    (own_zoo / "weights" / "toy").rename(own_zoo / "weights" / name)
    write_manifest(own_zoo, {name: replace(read_manifest(own_zoo)["toy"], name=name)})
    assert zoo_command(["verify"], Console(width=80)) == 0
    shown = capsys.readouterr().out
    assert "linear-features" in shown
    assert "same" in shown
    assert zoo_command(["list"], Console(width=80)) == 0
    assert "digits" in capsys.readouterr().out


def test_commands_list_show_and_download(own_zoo, capsys):
    console = Console(width=200)
    for arguments in (["list"], ["show", "toy"], ["download", "toy", "--all"]):
        assert zoo_command(arguments, console) == 0
    printed = capsys.readouterr().out
    assert "kernel entropy" in printed
    assert str(own_zoo / "weights" / "toy" / TRAINING_STATE) in printed.replace("\n", "")
