"""Data sets of Hugging Face on disk: columns, labels, and what is wrong with them."""

import json
import shutil

import numpy as np
import pytest

from solo_ldm.data import DataConfig
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.shards import arrow as arrow_module
from tests.support.data.images import refusal
from tests.support.data.shards import (
    arrow_of,
    contents,
    parquet_of,
    pixels_of,
    png,
    saved,
    source_of,
    table_of,
)

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
NAMES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache") / "kept"
    monkeypatch.setenv("SOLO_LDM_CACHE", str(folder))
    return folder


def table(numbers, names=NAMES, labels=None):
    labels = [number % 3 for number in numbers] if labels is None else labels
    return table_of([png(number) for number in numbers], labels, names)


def splits(place, **keys):
    return Splits(DataConfig(dataset="hf", train_path=str(place), **keys))


def test_a_saved_data_set_is_read_in_order_with_the_names_of_its_classes(tmp_path, cache):
    folder = saved(tmp_path / "set", table(range(25)), table(range(25, 30)))
    source = source_of("hf", folder)
    assert contents(source) == pixels_of(range(30))
    assert (source.classes, source.labels.tolist()) == (NAMES, [0, 1, 2] * 10)
    assert source.path(27) == f"{folder}/data-00001-of-00002.arrow/row 2"
    assert not cache.exists()  # it is read where it lies


def test_a_saved_dictionary_has_splits(tmp_path):
    saved(tmp_path / "train", table(range(12)))
    saved(tmp_path / "test", table(range(12, 15)))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    found = splits(tmp_path)
    assert found.val is not None
    assert contents(found.train) == pixels_of(range(12))
    assert contents(found.val) == pixels_of(range(12, 15))
    assert any("the split test of" in line for line in found.notices)
    assert len(source_of("hf", tmp_path / "test")) == 3
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["unlabeled", "test"]}))
    shutil.move(tmp_path / "train", tmp_path / "unlabeled")
    message = refusal(ValueError, dataset="hf", train_path=str(tmp_path))
    assert "of the split train" in message


def test_parquet_is_unpacked_once_and_named_as_it_is(tmp_path, cache):
    for split, numbers in (("train", range(25)), ("test", range(25, 28))):
        parquet_of(tmp_path / "data" / f"{split}-00000-of-00001.parquet", table(numbers))
    found = splits(tmp_path)
    assert contents(found.train) == pixels_of(range(25))
    assert contents(found.val) == pixels_of(range(25, 28))
    assert found.train.path(3).endswith("data/train-00000-of-00001.parquet/row 3")
    assert f"data.train_path: 1 files are unpacked in {cache}" in found.notices[0]
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("*.arrow")}
    assert len(kept) == 2
    assert contents(splits(tmp_path).train) == pixels_of(range(25))
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*.arrow")} == kept


def test_parquet_without_room_to_unpack_it_is_refused(tmp_path, monkeypatch):
    path = parquet_of(tmp_path / "a.parquet", table(range(25)))
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(arrow_module.shutil, "disk_usage", lambda folder: full)
    message = refusal(ValueError, dataset="hf", train_path=str(path))
    assert "name another folder in SOLO_LDM_CACHE" in message
    monkeypatch.setenv("SOLO_LDM_CACHE", str(path))  # where nothing can be kept
    message = refusal(ValueError, dataset="hf", train_path=str(path))
    assert f"{path} cannot be unpacked in {path} (" in message


@pytest.mark.parametrize("options", [{"compression": "lz4"}, {"compression": "zstd"}])
def test_compressed_arrow_is_unpacked(tmp_path, options):
    path = arrow_of(tmp_path / "a.arrow", table(range(15)), **options)
    assert contents(source_of("hf", path)) == pixels_of(range(15))


def test_other_layouts_of_arrow_and_of_images(tmp_path):
    images = [png(number) for number in range(12)]
    plain = pa.table({"img": pa.array(images, pa.large_binary()), "label": list("abca" * 3)})
    path = str(tmp_path / "a.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, plain.schema) as out:
        out.write_table(plain.slice(2), max_chunksize=5)
    found = splits(path, val_fraction=0.0)
    assert contents(found.train) == pixels_of(range(2, 12))
    assert found.train.classes == ("a", "b", "c")
    said = "labels are those of the column label, 3 classes (a, b, c); data.label_key"
    assert any(said in line for line in found.notices)


def test_images_that_are_files_are_read_from_them(tmp_path):
    (tmp_path / "there.png").write_bytes(png(1))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": png(0), "path": "a.png"}, {"bytes": None, "path": "there.png"}]
    rows += [{"bytes": None, "path": str(tmp_path / "there.png")}, {"bytes": None, "path": None}]
    rows += [{"bytes": None, "path": "gone.png"}, None]
    columns = pa.table({"image": pa.array(rows, kind), "label": [0, 1, 0, 1, 1, 0]})
    found = splits(arrow_of(tmp_path / "a.arrow", columns), val_fraction=0.0)
    assert found.train.labels.tolist() == [0, 1, 0, 1]
    assert [found.train.path(n) for n in (1, 2)] == [str(tmp_path / "there.png")] * 2
    assert contents(found.train.subset(np.arange(3))) == pixels_of([0, 1, 1])
    with pytest.raises(ValueError, match=r"gone.png: cannot be read"):
        found.train.load(3)
    assert any(
        "2 of 6 rows have no image or are damaged, and are left out" in line
        for line in found.notices
    )
    texts = pa.table({"file": ["there.png"] * 2, "label": [0, 1]})
    place = arrow_of(tmp_path / "b.arrow", texts)
    assert contents(source_of("hf", place, image_key="file")) == pixels_of([1, 1])
    assert "(of type Image, or bytes; data.image_key" in refusal(
        ValueError, dataset="hf", train_path=str(place)
    )


def test_of_several_columns_one_must_be_named(tmp_path):
    both = table(range(6))
    both = both.append_column("mask", both["image"]).append_column("fine", pa.array(list("aabbcc")))
    place = arrow_of(tmp_path / "a.arrow", both.replace_schema_metadata(None))
    message = refusal(ValueError, dataset="hf", train_path=str(place))
    assert "got image, mask; set data.image_key" in message
    source = source_of("hf", place, image_key="mask", label_key="fine")
    assert source.classes == ("a", "b", "c")
    message = refusal(
        ValueError, dataset="hf", train_path=str(place), image_key="image", label_key="fin"
    )
    assert "expected one of image, label, mask, fine, got fin" in message
    kinds = {name: {"names": ["x", "y", "z"], "_type": "ClassLabel"} for name in ("fine", "coarse")}
    about = json.dumps({"info": {"features": {"image": {"_type": "Image"}, **kinds}}})
    numbers = pa.table({"image": table(range(3))["image"], "fine": [0, 1, 2], "coarse": [0, 0, 1]})
    place = arrow_of(tmp_path / "b.arrow", numbers.replace_schema_metadata({"huggingface": about}))
    message = refusal(ValueError, dataset="hf", train_path=str(place))
    assert "got fine, coarse; set data.label_key" in message
    assert source_of("hf", place, label_key="coarse").labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("other", [{"names": ("x", "y", "z")}, {"names": None, "labels": None}])
def test_files_of_several_data_sets_are_refused(tmp_path, other):
    first = arrow_of(tmp_path / "a.arrow", table(range(3)))
    rows = [png(number) for number in range(3, 6)]
    second = arrow_of(tmp_path / "b.arrow", table_of(rows, **{"labels": [0, 1, 2], **other}))
    message = refusal(ValueError, dataset="hf", train_path=str(tmp_path / "*.arrow"))
    assert f"expected files of one data set, got {first} and {second}" in message


def test_rows_without_labels_are_unlabelled(tmp_path):
    some = table(range(6), labels=[0, 1, None, -1, 2, 0])
    source = source_of("hf", arrow_of(tmp_path / "a.arrow", some))
    assert source.labels.tolist() == [0, 1, -1, -1, 2, 0]
    none = table_of([png(number) for number in range(4)])
    found = splits(arrow_of(tmp_path / "b.arrow", none))
    assert (found.train.classes, found.val) == ((), None)
    assert any("none of the columns image is of labels" in line for line in found.notices)
    assert source_of("hf", tmp_path / "a.arrow", no_labels=True).classes == ()
    test = saved(tmp_path / "d" / "test", table(range(9, 12), labels=[-1] * 3))
    keys = {"dataset": "hf", "train_path": str(tmp_path / "a.arrow"), "val_path": str(test)}
    assert "got none with a label, as in a test split" in refusal(ValueError, "val", **keys)


@pytest.mark.parametrize("labels", [[0.5, 1.0, 2.0], [[0], [1], [1, 2]], [b"a", b"b", b"c"]])
def test_what_is_no_class_is_no_label(tmp_path, labels):
    place = arrow_of(tmp_path / "a.arrow", table(range(3), names=None, labels=labels))
    message = refusal(ValueError, dataset="hf", train_path=str(place))
    assert "labels of data.train_path: expected whole numbers or names, got" in message


def test_whole_numbers_that_pandas_has_as_fractions_are_labels(tmp_path):
    some = table(range(4), names=None, labels=[1.0, float("nan"), 0.0, None])
    source = source_of("hf", arrow_of(tmp_path / "a.arrow", some))
    assert source.labels.tolist() == [1, -1, 0, -1]


def test_damaged_files_are_named_and_their_other_rows_used(tmp_path):
    folder = saved(tmp_path / "set", table(range(25)), table(range(25, 50)), table(range(50, 60)))
    first, second = sorted(folder.glob("*.arrow"))[:2]
    first.write_bytes(first.read_bytes()[: first.stat().st_size * 9 // 10])
    second.write_bytes(b"no arrow file")
    found = splits(folder, val_fraction=0.0)
    assert contents(found.train) == pixels_of([*range(20), *range(50, 60)])
    (line,) = (one for one in found.notices if "damaged" in one)
    assert line.startswith("data.train_path: 2 of 3 files are damaged")
    assert f"{first}: " in line
    assert ", 20 rows used" in line
    assert f"{second}: " in line
    second.unlink()
    message = refusal(FileNotFoundError, dataset="hf", train_path=str(folder))
    assert f"1 of the 3 files of {folder}/state.json are missing ({second})" in message


def test_damaged_groups_of_parquet_are_left_out_and_counted(tmp_path):
    path = parquet_of(tmp_path / "a.parquet", table(range(40)))
    content = bytearray(path.read_bytes())
    about = parquet.read_metadata(path).row_group(1).column(0)
    content[about.data_page_offset : about.data_page_offset + 60] = b"\xff" * 60
    path.write_bytes(content)
    found = splits(path, val_fraction=0.0)
    read = contents(found.train)
    assert read[:10] == pixels_of(range(10))
    assert read[-10:] == pixels_of(range(30, 40))
    said = f"10 of 40 rows have no image or are damaged, and are left out ({path}/row 10, "
    assert any(said in line for line in found.notices)
    path.write_bytes(content[: len(content) // 2])
    assert "expected images in 1 files, got none; " in refusal(
        ValueError, dataset="hf", train_path=str(path)
    )


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    saved(tmp_path, table(range(4)))
    monkeypatch.setattr(arrow_module.importlib.util, "find_spec", lambda name: None)
    message = refusal(ValueError, dataset="hf", train_path=str(tmp_path))
    assert message.endswith("pip install 'solo-ldm[hf]'")
