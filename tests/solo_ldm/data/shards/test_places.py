"""The files of shards that a folder, a pattern or a path names."""

import pytest
from rich.console import Console

from solo_ldm.commands.pretrain.call import _Images
from solo_ldm.data import DataConfig
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.datasets.shards import kind_of_shards
from solo_ldm.data.shards.places import expand, files_of
from tests.support.data.images import names_of, refusal, save
from tests.support.data.shards import png, samples, source_of, tar_of, tars_of


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
