"""A run is continued on the data that it was trained on, and on no other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from predictive.configuration import complete_predictive
from predictive.training import data_identity
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.run.changes import unfinished_elsewhere
from solo_ldm.run.configuration import complete, read_data
from solo_ldm.run.data_identity import DataIdentity, identity_of_files, identity_of_images
from solo_ldm.run.folder import RunFolder, choose_run, find_finished, save_args
from solo_ldm.run.hardware import single_device
from tests.support.data.images import make_classes, save
from tests.support.linear_toy import make_images
from tests.support.predictive.runs import config
from tests.support.predictive.spikes import write_recording
from tests.support.processes import kill_at
from tests.support.toy import toy_config

IMAGES = ("data=custom", "data.fraction=-1", "augmentations=cifar", "backbone.name=convnet_small")


class Lines(list[str]):
    """What was said."""

    @property
    def all(self) -> str:
        return " ".join(self)


def identity_here(cfg) -> DataIdentity:
    return identity_of_images(read_data(cfg, single_device("cpu")))


def train(cfg) -> RunFolder:
    """`pretrain` as a function, which a child can be given."""
    outcome = pretrain(cfg)
    assert outcome is not None
    return outcome.folder


def begin(shared: Path, said: Lines, place: str = "images") -> RunFolder:
    """Start or continue a run on a relative place, as a command does."""
    said.clear()
    cfg = complete(toy_config(shared, *IMAGES, f"data.train_path={place}"))
    folder = choose_run(cfg, data=identity_here(cfg), say=said.append)
    save_args(folder, cfg)
    return folder


def test_images_of_another_place_changed_added_or_relabelled_are_another_run(tmp_path, monkeypatch):
    said, shared = Lines(), tmp_path / "shared"
    one, other = (make_classes(tmp_path / name / "images") for name in ("p1", "p2"))
    monkeypatch.chdir(one.parent)
    first = begin(shared, said)
    assert begin(shared, said).path == first.path
    assert not said
    # The place is written down so that it is found from everywhere.
    assert json.loads(first.args.read_text())["data"]["train_path"] == str(one)

    monkeypatch.chdir(other.parent)
    second = begin(shared, said)
    assert second.path != first.path
    assert not said

    monkeypatch.chdir(one.parent)
    assert begin(shared, said).path == first.path
    paths = [first.path, second.path]
    added = save(one / "bee" / "9.png")
    paths.append(begin(shared, said).path)
    assert len(said) == 1
    assert f"{first.path} was trained on other data" in said.all
    assert f"{one}, now: 9 images" in said.all
    assert f"{one})" in said.all
    added.unlink()
    assert begin(shared, said).path == first.path
    (one / "bee" / "0.png").rename(one / "ant" / "8.png")
    paths.append(begin(shared, said).path)
    (one / "ant" / "8.png").rename(one / "bee" / "0.png")
    content = (one / "bee" / "0.png").read_bytes()
    (one / "bee" / "0.png").write_bytes(content[::-1])  # the contents differ alone
    paths.append(begin(shared, said).path)
    assert len(set(paths)) == len(paths)


def test_a_place_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    said, shared = Lines(), tmp_path / "shared"
    images = make_classes(tmp_path / "home" / "images")
    (tmp_path / "link").symlink_to(images)
    monkeypatch.chdir(images.parent)
    before = complete(toy_config(shared, *IMAGES, "data.train_path=./images/"))
    run = begin(shared, said, str(images))
    for place in ("images", "./images/", "../home/images", str(tmp_path / "link"), f"{images}/"):
        assert begin(shared, said, place).path == run.path, place
    monkeypatch.chdir(tmp_path)
    assert begin(shared, said, "home/images").path == run.path
    assert not said
    # Versions before named a run by the place as it was written: it is continued there.
    monkeypatch.chdir(images.parent)
    old = choose_run(before)
    save_args(RunFolder(old.path, identity_here(before)), before)
    assert begin(shared, said, "./images/").path == old.path != run.path
    assert begin(shared, said, "images").path == run.path


def test_a_new_run_on_images_that_an_unfinished_one_has_elsewhere_says_so(tmp_path):
    def lines(place: Path, *overrides: str) -> list[str]:
        cfg = complete(toy_config(tmp_path, *IMAGES, f"data.train_path={place}", *overrides))
        return unfinished_elsewhere(cfg, choose_run(cfg, data=identity_here(cfg)))

    one, other, third = (make_classes(tmp_path / name) for name in "abc")
    run = begin(tmp_path, Lines(), str(one))
    run.last.parent.mkdir()
    run.last.touch()
    (line,) = lines(other)
    assert f"{run.path} is an unfinished run on these same images" in line
    assert f"resume_from_checkpoint={run.path}" in line
    assert lines(one) == lines(other, "optimizer.lr=0.01") == []
    assert lines(other, "auto_resume.enabled=false") == []
    save(third / "bee" / "9.png")
    assert lines(third) == []
    run.results.write_text("{}")
    assert lines(other) == []


def test_images_in_memory_are_the_same_from_every_folder(tmp_path, monkeypatch):
    identities = []
    for name in ("here", "there"):
        (tmp_path / name / "datasets").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        identities.append(identity_here(complete(toy_config(tmp_path))))
    assert identities[0] == identities[1]
    assert identities[0].places == {}


def test_a_run_of_a_version_without_identities_continues_unless_a_file_is_newer(
    tmp_path, monkeypatch
):
    said = Lines()
    images = make_classes(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    old = begin(tmp_path / "runs", said)
    for damage in ("", "{", "[]", "{}"):
        old.data.write_text(damage)
        assert begin(tmp_path / "runs", said).path == old.path, damage
    old.data.unlink()
    assert begin(tmp_path / "runs", said).path == old.path
    assert old.data.exists()  # from now on it is known
    old.data.unlink()
    later = old.args.stat().st_mtime + 10
    os.utime(images / "ant" / "0.png", (later, later))
    assert begin(tmp_path / "runs", said).path != old.path
    assert "files that have changed since" in said.all


def test_a_recording_is_known_by_its_contents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = write_recording(tmp_path / "a.npz")

    def found(*paths: str) -> DataIdentity:
        given = f"data.path=[{','.join(paths)}]" if len(paths) > 1 else f"data.path={paths[0]}"
        identity = data_identity(complete_predictive(config(tmp_path, given, name="recording")))
        assert identity is not None
        return identity

    whole, pattern = found("a.npz"), found("'*.npz'")
    assert whole.places == {"path": str(written)}
    assert pattern.digest == whole.digest
    assert pattern.places == {"path": str(tmp_path / "*.npz")}
    write_recording(tmp_path / "b.npz")
    two = found("a.npz", "b.npz")
    assert two.places == {"path": [str(written), str(tmp_path / "b.npz")]}
    assert found("b.npz", "a.npz").digest != two.digest

    cfg = complete_predictive(config(tmp_path / "runs", "data.path=a.npz", name="recording"))
    folder = choose_run(cfg, data=whole)
    save_args(folder, cfg)
    folder.results.write_text("{}")
    said = Lines()
    finished = find_finished(cfg, lambda folder: True, whole, said.append)
    assert finished is not None
    assert finished.path == folder.path
    bits = bytearray(written.read_bytes())
    bits[len(bits) // 2] ^= 1
    written.write_bytes(bits)
    os.utime(written, (0, 0))  # an old time does not make it the same
    assert find_finished(cfg, lambda folder: True, found("a.npz"), said.append) is None
    assert "trained on other data" in said.all
    assert data_identity(complete_predictive(config(tmp_path))) is None


def test_of_a_large_recording_blocks_from_its_beginning_to_its_end_are_read(tmp_path, monkeypatch):
    for name, value in {"_WHOLE": 1000, "_BLOCKS": 5, "_BLOCK": 10}.items():
        monkeypatch.setattr(f"solo_ldm.run.data_identity.{name}", value)
    path = tmp_path / "large.nwb"
    content = np.zeros(2000, dtype=np.uint8)

    def digest_with(changed: int) -> str:
        array = content.copy()
        array[changed] = 1
        array.tofile(path)
        return identity_of_files([path], {"path": str(path)}).digest

    read = [*range(0, 10), *range(497, 507), *range(995, 1005), *range(1492, 1502)]
    read += range(1990, 2000)
    digests = [digest_with(place) for place in read]
    assert len(set(digests)) == len(read)
    assert digest_with(300) == digest_with(1200)


@pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")
def test_images_added_between_a_kill_and_the_next_start_begin_another_run(
    tmp_path, capsys, monkeypatch
):
    make_images(tmp_path / "images", classes=2, each=40)
    monkeypatch.chdir(tmp_path)
    small = ("max_epochs=2", "evaluation.protocols=[]", "data.train_path=images")
    cfg = toy_config(tmp_path / "runs", *IMAGES, *small, "optimizer.batch_size=32")
    kill_at(4, train, cfg)
    (killed,) = (tmp_path / "runs" / "gaussprob").iterdir()
    kept = RunFolder(killed).last.read_bytes()
    save(tmp_path / "images" / "class0" / "new.png")
    assert train(cfg).path.name == f"{killed.name}-2"
    assert RunFolder(killed).last.read_bytes() == kept
    shown = capsys.readouterr().out
    assert "trained on other data (80 images" in shown
    assert "continuing" not in shown
