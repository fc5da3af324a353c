"""A zoo survives the death of who publishes into it, and two who publish at once."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from solo_ldm.commands.zoo.run import run as zoo_command
from solo_ldm.weights.published import staging
from solo_ldm.weights.published.download import fetch
from solo_ldm.weights.published.manifest import read_manifest
from solo_ldm.zoo import backbones, publishing
from solo_ldm.zoo.kinds import Score
from solo_ldm.zoo.publishing import publish
from tests.support.processes import run_child, run_children

# What a publication over an older one moves: the complete change, the older and the new folder, the
# picture, the table, the manifest.
MOVES = 6


def republish(folder: Path, run: Path, name: str = "toy") -> None:
    """Publish without measuring again."""
    one = next(iter(read_manifest(folder).values()))
    scores = {
        known.protocol: Score(known.metric, known.value, known.num_samples, known.tolerance)
        for known in one.results
    }
    backbones.BackboneKind.measure = lambda *_: (scores, one.dataset_sha256)
    publish([run], name, folder, licence="another")


def publish_until(move: int, folder: Path, run: Path) -> None:
    """Die before a move within the zoo, counted from 0, or before what is left over is removed."""
    replace, remove, moved = Path.replace, shutil.rmtree, []

    def replaced(self: Path, target: Any) -> Any:
        if ".complete" in f"{self} {target}":
            if len(moved) == move:
                os.kill(os.getpid(), signal.SIGKILL)
            moved.append(target)
        return replace(self, target)

    def removed(path: Any, *rest: Any, **keywords: Any) -> None:
        if ".complete" in f"{path}":
            os.kill(os.getpid(), signal.SIGKILL)
        remove(path, *rest, **keywords)

    Path.replace = replaced
    staging.shutil.rmtree = removed
    republish(folder, run)


@pytest.mark.parametrize("move", range(MOVES + 1))
def test_a_zoo_is_whole_at_the_next_command_wherever_publishing_was_killed(
    own_zoo, runs, move, capsys
):
    names = {path.name for path in own_zoo.iterdir()} | {".lock"}
    ended = run_child(publish_until, move, own_zoo, runs[0])
    assert ended.code == -signal.SIGKILL, ended.printed
    assert {path.name for path in own_zoo.iterdir()} > names
    assert zoo_command(["list"], Console(width=200)) == 0
    assert {path.name for path in own_zoo.iterdir()} == names
    entry = read_manifest()["toy"]
    assert entry.licence == ("CC BY 4.0" if move == 0 else "another")
    folder = own_zoo / "weights" / "toy"
    found = {fetch(entry, file.name) for file in entry.files}
    assert {*folder.iterdir()} == {*found, folder / "README.md"}


def publish_slowly(folder: Path, run: Path) -> None:
    read = publishing.read_manifest

    def read_slowly(*given: Any) -> Any:
        found = read(*given)
        time.sleep(0.3)
        return found

    publishing.read_manifest = read_slowly
    republish(folder, run, os.environ["ENTRY"])


def test_two_who_publish_at_once_both_find_their_entry(own_zoo, runs):
    environments = [{"ENTRY": name} for name in ("one", "two")]
    ended = run_children(publish_slowly, own_zoo, runs[0], environments=environments)
    assert [one.code for one in ended] == [0, 0], ended
    assert {"one", "two", "toy"} == read_manifest().keys()
    table = (own_zoo / "README.md").read_text()
    assert all(f"[{name}](weights/{name}/README.md)" in table for name in ("one", "two", "toy"))
    assert not (own_zoo / "left").exists()


def test_what_a_living_process_prepares_is_left_alone(own_zoo):
    with staging.change(own_zoo, pytest.fail) as staged:
        read_manifest()
        assert staged.is_dir()
        shutil.copy(own_zoo / "manifest.yaml", staged)
    assert not staged.exists()
