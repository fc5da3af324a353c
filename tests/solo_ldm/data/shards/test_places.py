"""The files of shards that a folder, a pattern or a path names."""

import pytest
from rich.console import Console

from solo_ldm.commands.pretrain.call import _Images
from solo_ldm.data import DataConfig
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.datasets.shards import kind_of_shards, pattern_of_shards
from solo_ldm.data.shards.places import expand, files_of, pattern_of
from solo_ldm.data.sources.collected import collect
from tests.support.data.images import names_of, refusal, save
from tests.support.data.shards import (
    parquet_of,
    png,
    samples,
    source_of,
    table_of,
    tar_of,
    tars_of,
)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("t-{08..11}.tar", ["t-08.tar", "t-09.tar", "t-10.tar", "t-11.tar"]),
        ("t-{8..10}", ["t-8", "t-9", "t-10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("{x{0..1},y}", ["x0", "y", "x1"]),
        ("{0..1}-of-00002", ["0-of-00002", "1-of-00002"]),
    ],
)
def test_braces_are_those_of_a_shell(pattern, names):
    assert expand(pattern) == names


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a/t-0.tar"], "a/t-0.tar"),
        (["a/t-008.tar", "a/t-009.tar", "a/t-010.tar"], "a/t-0{08..10}.tar"),
        (["a/t-8.tar", "a/t-9.tar", "a/t-10.tar"], "a/t-{8..10}.tar"),
        (["t-2.tar", "t-0.tar", "t-7.tar"], "t-{2,0,7}.tar"),
        (["a.tar", "aa.tar", "a/b.tar"], "a{,a,/b}.tar"),
        (["t-{00..03}.tar", "t-{05..06}.tar"], "t-0{0,1,2,3,5,6}.tar"),
        (["x.tar", "t-{0..1}.tar"], "{x,t-0,t-1}.tar"),
    ],
)
def test_a_list_of_shards_is_the_pattern_of_them(names, pattern):
    assert pattern_of(names, "data") == pattern
    assert expand(pattern) == [one for name in names for one in expand(name)]


def test_a_list_of_shards_in_python_is_read_in_its_order(tmp_path):
    tars_of(tmp_path / "[a]", 3, 2)
    paths = [tmp_path / "[a]" / f"train-000{number}.tar" for number in (2, 0)]
    images = _Images(paths, None, [str(paths[0])], None, Console())
    keys = images.keys()
    assert keys["data"] == "webdataset"
    assert keys["data.val_path"] == str(paths[0])
    names = ["0004.png", "0005.png", "0000.png", "0001.png"]
    assert names_of(source_of("webdataset", keys["data.train_path"])) == names


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.tar", "b.parquet"], "expected shards of one kind, got a.tar and b.parquet"),
        (["a.png", "b.tar"], "expected shards of one kind, got b.tar and a.png"),
        (
            ["a.tar", "b.tar", "a.tar"],
            "expected each shard once, with no comma or brace in",
        ),
        (
            ["a,b.tar", "c.tar"],
            "expected each shard once, .* in its name, got a,b.tar",
        ),
    ],
)
def test_lists_of_shards_that_are_no_pattern_are_refused(names, told):
    with pytest.raises(ValueError, match=f"^data: {told}"):
        pattern_of_shards(names, "data")


def test_lists_of_folders_and_what_is_no_list_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^data: .* got the folder .*; give the path of one"):
        pattern_of_shards([tmp_path], "data")
    with pytest.raises(ValueError, match="got generator; give a list of it"):
        collect(tmp_path.glob("*.tar"))


def test_other_lists_are_no_shards():
    for images in (["a.png", "b.png"], [], "a.tar", [b"a.tar"]):
        assert pattern_of_shards(images, "data") is images


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("data/train-0000{0..1}-of-00002.parquet", "data/validation-00000-of-00001.parquet"),
        ("default/train/000{0..1}.parquet", "default/test/0000.parquet"),
        ("plain_text/train-0000{0..1}-of-00002.parquet", "plain_text/test-0.parquet"),
    ],
)
def test_a_snapshot_of_the_hub_is_read_by_the_names_of_its_files(train, val, tmp_path):
    folder = tmp_path / "datasets--a--digits" / "snapshots" / "0123"
    for number, name in enumerate(expand(train)):
        rows = range(8 * number, 8 * number + 8)
        blob = parquet_of(tmp_path / "blobs" / name, table_of([*map(png, rows)], [0, 1] * 4, "ab"))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(blob)
    parquet_of(folder / val, table_of([*map(png, range(50, 54))], [0, 1] * 2, "ab"))
    (folder / "README.md").write_text("a card")
    (folder / ".gitattributes").write_text("")
    assert kind_of_shards(folder) == "hf"
    images = _Images(folder, None, None, None, Console())
    assert images.keys() == {"data": "hf", "data.train_path": str(folder)}
    found = Splits(DataConfig(dataset="hf", train_path=str(folder)))
    assert found.val is not None
    assert (len(found.train), len(found.val)) == (16, 4)
    message = refusal(ValueError, dataset="custom", train_path=str(folder))
    assert message.endswith("data=hf reads them")


def test_shards_beside_images_are_said(tmp_path):
    tars_of(tmp_path / "data", 1, 4)
    save(tmp_path / "assets" / "banner.png")
    message = refusal(ValueError, dataset="custom", train_path=str(tmp_path))
    assert message.endswith(f"shards in {tmp_path}/data; give the folder of one of them")
    for number in range(2):
        save(tmp_path / f"{number}.png")
    found = Splits(DataConfig(dataset="custom", train_path=str(tmp_path)))
    assert len(found.train) == 3
    said = "data.train_path: shards beside the images are left out: data; give their folder"
    assert any(said in line for line in found.notices)


def test_every_file_that_a_pattern_names_must_be_there(tmp_path):
    pattern = tars_of(tmp_path, 3, 2)
    (tmp_path / "train-0001.tar").unlink()
    message = refusal(FileNotFoundError, dataset="webdataset", train_path=pattern)
    assert f"of which 1 of 3 files are missing ({tmp_path}/train-0001.tar)" in message
    assert len(source_of("webdataset", tmp_path / "train-*.tar")) == 4
    for place in (tmp_path / "no", tmp_path / "no*.tar"):
        message = refusal(FileNotFoundError, dataset="webdataset", train_path=str(place))
        assert message.endswith("which does not exist")


@pytest.mark.parametrize("place", ["s3://bucket/{0..1}.tar", "pipe:cat a.tar", "hf://datasets/a"])
def test_remote_places_are_refused(place):
    with pytest.raises(ValueError, match=r"^data.x: expected files of this machine, got .*fetch"):
        files_of(place, "data.x", (".tar",))


def test_the_splits_of_a_folder_are_told_by_words_in_names(tmp_path):
    tars_of(tmp_path / "data", 2, 4, "my-train")
    tar_of(tmp_path / "data" / "my_Validation-0.tar", samples(range(50, 53)))
    tars_of(tmp_path / "data", 1, 6, "test")
    tars_of(tmp_path / ".cache", 1, 6, "train")
    found = Splits(DataConfig(dataset="webdataset", train_path=str(tmp_path)))
    assert found.val is not None
    assert (len(found.train), len(found.val)) == (8, 3)
    assert any("the split validation of" in line for line in found.notices)
    assert found.scored_on == "test images of webdataset"


def test_a_folder_without_splits_is_trained_on_and_a_share_held_out(tmp_path):
    tars_of(tmp_path, 2, 10, "shard")
    found = Splits(DataConfig(dataset="webdataset", train_path=str(tmp_path)))
    assert found.val is not None
    assert (len(found.train), len(found.val)) == (16, 4)
    assert found.scored_on.startswith("held-out training images")


def test_splits_that_cannot_be_told_are_refused(tmp_path):
    tars_of(tmp_path, 1, 4, "train")
    tars_of(tmp_path, 1, 4, "more")
    message = refusal(ValueError, dataset="webdataset", train_path=str(tmp_path))
    assert "expected files of the split train in" in message
    assert "no split: more-0000.tar" in message
    tars_of(tmp_path / "b", 1, 4, "test")
    tars_of(tmp_path / "b", 1, 4, "val")
    message = refusal(ValueError, dataset="webdataset", train_path=str(tmp_path / "b"))
    assert "give the path or a pattern" in message
    tars_of(tmp_path / "c" / "one", 1, 4, "train")
    tars_of(tmp_path / "c" / "two", 1, 4, "train")
    message = refusal(ValueError, dataset="webdataset", train_path=str(tmp_path / "c"))
    assert "expected files of one folder" in message


def test_no_files_and_no_place_are_refused(tmp_path):
    message = refusal(FileNotFoundError, dataset="webdataset", train_path=str(tmp_path))
    assert "expected files .tar, got none in" in message
    assert "data.train_path: missing" in refusal(ValueError, dataset="webdataset", train_path=None)


def test_keys_of_shards_are_refused_for_other_data(tmp_path):
    message = refusal(ValueError, dataset="digits", label_key="cls")
    assert "data.label_key: expected null with data=digits, got cls" in message


def test_validation_shards_have_the_classes_of_the_training_shards(tmp_path):
    train = tars_of(tmp_path, 2, 6)
    tar = tar_of(tmp_path / "val.tar", {"a.png": png(90), "a.cls": b"1"})
    val = source_of("webdataset", train, "val", val_path=str(tar))
    assert (val.classes, val.labels.tolist()) == (("0", "1"), [1])
    keys = {"dataset": "webdataset", "train_path": train, "val_path": str(tar)}
    tar_of(tar, {"a.png": png(90), "a.cls": b"5"})
    message = refusal(ValueError, "val", **keys)
    assert message == "labels of data.val_path: expected one of 0, 1, got 5"
    tar_of(tar, {"a.png": png(90), "a.cls": b"-1"})
    message = refusal(ValueError, "val", **keys)
    assert "data.val_path: expected labelled images, got none with a label" in message


def test_copies_of_training_images_are_not_validated_on(tmp_path):
    train, val = tars_of(tmp_path, 2, 6), tar_of(tmp_path / "val.tar", samples(range(10, 14)))
    keys = {"dataset": "webdataset", "train_path": train, "val_path": str(val)}
    found = Splits(DataConfig(**keys))
    assert found.val is not None
    assert names_of(found.val) == ["0012.png", "0013.png"]
    assert "2 of 4 validation images are left out" in found.notices[-1]
    assert f"such as {val}/0010.png" in found.notices[-1]


def test_shards_are_known_by_their_names_where_none_are_expected(tmp_path):
    tars_of(tmp_path / "a", 1, 4, "train")
    (tmp_path / "b" / "train").mkdir(parents=True)
    (tmp_path / "b" / "dataset_dict.json").write_text("{}")
    tars_of(tmp_path / "c", 1, 4, "n01440764")
    save(tmp_path / "c" / "n01440764" / "one.png")
    kinds = {"a": "webdataset", "a/train-{0000..0003}.tar": "webdataset", "b": "hf", "c": None}
    kinds |= {"x/train-00000-of-00001.parquet": "hf", "x/list.txt": None}
    assert {name: kind_of_shards(tmp_path / name) for name in kinds} == kinds
    for place in ("a", "a/train-0000.tar"):
        message = refusal(ValueError, dataset="custom", train_path=str(tmp_path / place))
        assert message.endswith("data=webdataset reads them")
    pattern = str(tmp_path / "a" / "train-{0000..0001}.tar")
    images = _Images(pattern, None, None, None, Console())
    assert images.keys() == {"data": "webdataset", "data.train_path": pattern}
