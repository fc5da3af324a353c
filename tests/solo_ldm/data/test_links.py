"""Each real file is one image, and no image is in two splits."""

import os
import shutil

import pytest

from solo_ldm.data import DataConfig
from solo_ldm.data.datasets import registry
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.sources import copies
from tests.support.data.images import load, make_classes, save


def splits(root, **values):
    return Splits(DataConfig(dataset="custom", train_path=str(root), **values))


def paths(source, root):
    return [os.path.relpath(source.path(index), root) for index in range(len(source))]


def said(notices, *words):
    (line,) = [line for line in notices if all(word in line for word in words)]
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("place", "target"),
    [("ant/all", ".."), ("ant/latest", "."), ("ant/more", "../bee"), ("all", "."), ("cat", "ant")],
)
def test_a_link_that_leads_back_adds_no_image(tmp_path, place, target):
    plain = paths(load(dataset="custom", train_path=str(make_classes(tmp_path))), tmp_path)
    (tmp_path / place).symlink_to(target)
    found = splits(tmp_path)
    assert paths(found.train, tmp_path) == plain
    assert found.train.classes == ("ant", "bee")
    assert place in said(found.notices, "1 link left out")


def test_links_to_the_same_folders_and_files_are_followed_once_in_order(tmp_path):
    root, pool = make_classes(tmp_path / "root"), make_classes(tmp_path / "pool", ("x", "y", "z"))
    (root / "ant" / "a").symlink_to(pool / "x")
    (root / "ant" / "b").symlink_to(pool)  # x is found already, y and z are not
    (root / "bee" / "5.png").symlink_to(pool / "z" / "0.png")
    (root / "bee" / "6.png").symlink_to("0.png")
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    save(tmp_path / "elsewhere" / "0.png", (9, 9, 9))
    found = splits(root, val_fraction=0.0)
    ant = [f"{n}.png" for n in range(4)]
    linked = [f"{name}/{n}.png" for name in ("a", "b/y", "b/z") for n in range(4)]
    assert paths(found.train, root) == [
        *(f"ant/{name}" for name in (*ant, *linked)),
        *(f"bee/{name}" for name in ant),
        "cat/0.png",
    ]
    line = said(found.notices, "3 links left out")
    assert all(name in line for name in ("ant/b/x", "bee/5.png", "bee/6.png"))


def test_a_loop_of_links_without_an_image_ends(tmp_path):
    make_classes(tmp_path)
    (tmp_path / "ant" / "self.png").symlink_to("self.png")
    for name in "abcd":
        (tmp_path / "cat" / name).mkdir(parents=True)
        (tmp_path / "cat" / name / "up").symlink_to(tmp_path / "cat")
    with pytest.raises(ValueError, match="no images in 1 class folders"):
        load(dataset="custom", train_path=str(tmp_path))


def test_a_folder_that_cannot_be_listed_is_said(tmp_path, monkeypatch):
    root = make_classes(tmp_path)
    save(root / "ant" / "closed" / "0.png", (1, 2, 3))
    scan = os.scandir

    def refuse(place):
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "closed" in said(splits_read(root), "1 folder left out", "cannot be listed")


def splits_read(root, **values):
    found = splits(root, **values)
    _ = found.train, found.val
    return found.notices


def test_copies_are_named_and_never_held_out_from_what_is_trained_on(tmp_path):
    root = make_classes(tmp_path, count=20)
    config = {"dataset": "custom", "train_path": str(root)}
    held = paths(load("val", **config), root)
    assert len(held) == 8
    kept = paths(load(**config), root)
    # One by a hard link, one by content, one by content in the other class.
    os.remove(root / held[0])
    os.link(root / kept[0], root / held[0])
    shutil.copy(root / kept[1], root / held[1])
    shutil.copy(root / kept[-1], root / held[2])
    found = splits(root)
    val = found.val
    assert val is not None
    assert paths(val, root) == held[3:]
    assert sorted([*paths(found.train, root), *paths(val, root)]) == sorted(kept + held)
    line = said(found.notices, "3 images of data.train_path are copies of others")
    assert "1 of them of another class" in line
    assert "3 files not held out" in said(found.notices, "data.val_fraction")


@pytest.mark.parametrize("how", ["link", "hard link", "content", "linked folder"])
def test_a_training_image_in_the_validation_folder_is_left_out_of_it(tmp_path, how):
    train, val = make_classes(tmp_path / "train"), make_classes(tmp_path / "val", count=3)
    for index in range(3):
        for name in ("ant", "bee"):
            save(val / name / f"{index}.png", (100, index, len(name) + index))
    other = val / "bee" / "0.png"
    source = train / "ant" / "2.png"
    os.remove(other)
    if how == "link":
        other.symlink_to(source)
    elif how == "hard link":
        os.link(source, other)
    elif how == "content":
        shutil.copy(source, other)
    else:
        (val / "bee" / "more").symlink_to(train / "bee")
    found = splits(train, val_path=str(val))
    kept = found.val
    assert kept is not None
    names = ["ant/0.png", "ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png"]
    # The last two are copies of one another, whatever else: they stay.
    assert set(paths(kept, val)) == set(names)
    count = 4 if how == "linked folder" else 1
    assert f"{count} of {count + 5} validation images are left out" in said(
        found.notices, "data.val_path"
    )


def test_training_images_as_validation_are_said(tmp_path):
    root = make_classes(tmp_path)
    found = splits(root, val_path=str(root))
    assert found.val is not None
    assert len(found.val) == 8
    assert "all 8 validation images are training images" in said(found.notices, "data.val_path")


def test_a_set_without_copies_and_links_has_nothing_to_say(tmp_path):
    assert splits_read(make_classes(tmp_path)) == []


def test_copies_are_looked_for_among_few_enough_files_and_that_is_said(tmp_path, monkeypatch):
    root = make_classes(tmp_path)
    shutil.copy(root / "ant" / "0.png", root / "ant" / "9.png")
    os.link(root / "ant" / "1.png", root / "bee" / "9.png")
    assert "2 images of data.train_path" in said(splits_read(root), "copies of others")
    monkeypatch.setattr(copies, "MOST_OPENED", 3)
    notices = splits_read(root)
    assert "1 image of data.train_path" in said(notices, "a copy of another, of another class")
    said(notices, "among links alone")
    monkeypatch.setattr(copies, "MOST_FILES", 3)
    said(splits_read(root), "not looked for among more than 3 files")


def test_copies_are_counted_by_image_and_shown_with_what_differs(tmp_path):
    root = make_classes(tmp_path, ("a", "b", "c"))
    for name in "bc":
        shutil.copy(root / "a" / "0.png", root / name / "9.png")
    for name in "ab":  # the same content, but no images
        (root / name / "8.png").write_bytes(b"broken")
    line = said(splits_read(root), "2 images of data.train_path are copies of others, of another")
    assert "(a/0.png = b/9.png, a/0.png = c/9.png)" in line
    (tmp_path / "list.txt").write_text("a/1.png x\na/2.png y\nb/0.png x\na/2.png x\na/1.png x\n")
    line = said(splits_read(tmp_path / "list.txt"), "2 images", "1 of them of another class")
    assert "a/1.png listed twice" in line
    assert "a/2.png listed as y and as x" in line


def test_links_to_nothing_and_folders_of_servers_are_left_out_with_counts(tmp_path):
    root = make_classes(tmp_path)
    plain = paths(load(dataset="custom", train_path=str(root)), root)
    for number, name in enumerate(("ant", "ant", "bee")):
        (root / name / f"{number}_gone.png").symlink_to("/nowhere/0.png")
    for place in ("__MACOSX/ant", "@eaDir", "bee/@eaDir/0.png"):
        save(root / place / "thumbnail.png", (3, 4, 5))
    found = splits(root)
    assert paths(found.train, root) == plain
    assert found.train.classes == ("ant", "bee")
    assert "ant/0_gone.png" in said(found.notices, "3 links left out, to files that do not exist")
    assert "bee/@eaDir" in said(found.notices, "3 folders left out", "file server")
    assert len(splits(root, no_labels=True).train) == 8


def test_published_sets_keep_their_splits():
    assert [name for name, one in registry.DATASETS.items() if one.own] == [
        "custom",
        "image_folder",
        "captions",
        "webdataset",
        "hf",
        "memory",
    ]
