"""Images with captions: a table, shards, digits; and what is wrong with them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.run.data_identity import identity_of_images
from tests.support.data.images import module, refusal, save
from tests.support.data.shards import arrow_of, parquet_of, png, table_of, tar_of


def table(folder, text="image,caption\na.png,a cat\nb.png,a dog\n", name="captions.csv", count=3):
    for letter in "abcdefgh"[:count]:
        save(folder / f"{letter}.png", colour=(ord(letter), 20, 30))
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def splits(path, **keys):
    return Splits(DataConfig("captions", str(path), **{"val_fraction": 0.0, **keys}))


def test_an_image_of_several_lines_has_several_captions(tmp_path):
    text = 'image,caption\na.png,"a cat, asleep"\nb.png,a dog\n\na.png,ein Kätzchen\n'
    source = splits(table(tmp_path, text)).train
    assert [*source.captions] == [("a cat, asleep", "ein Kätzchen"), ("a dog",)]
    assert [source.path(i) for i in range(2)] == [str(tmp_path / f"{x}.png") for x in "ab"]
    assert source.classes == ()
    assert source.subset(np.array([1])).captions.tolist() == [("a dog",)]


def test_columns_are_named_and_classes_are_read(tmp_path):
    text = "﻿id\tfile\ttitle\tkind\n1\ta.png\tone\tx\n2\tb.png\ttwo\ty\n3\tc.png\tthree\t\n"
    path = table(tmp_path, text, "captions.tsv")
    keys = {"image_key": "file", "caption_key": "title"}
    source = splits(path, **keys, label_key="kind").train
    assert [*source.captions] == [("one",), ("two",), ("three",)]
    assert (source.classes, source.labels.tolist()) == (("x", "y"), [0, 1, -1])
    assert splits(path, **keys).train.classes == ()


@pytest.mark.parametrize(
    "content",
    [
        b"image;caption\na.png;a cat, asleep\n",
        '\ufeff"image";"caption"\r\n"a.png";"a cat, asleep"\r\n'.encode(),
        b"sep=;\r\nImage;Caption\r\na.png;a cat, asleep\r\n",
        "image\tcaption\r\na.png\ta cat, asleep\r\n".encode("utf-16"),
        b'filepath,title\ra.png,"a cat, asleep"\r',
        b"image_name| comment_number| comment\na.png| 0| a cat, asleep\n",
        b'id,file_name,text\n1,.\\a.png,"a cat, asleep"\n',
    ],
    ids=["semicolons", "mark", "sep", "utf-16", "open_clip", "flickr", "windows"],
)
def test_separators_names_and_encodings_of_other_programs_are_read(tmp_path, content):
    path = table(tmp_path)
    path.write_bytes(content)
    source = splits(path).train
    assert [*source.captions] == [("a cat, asleep",)]
    assert len(source) == 1


def test_images_are_held_out_with_their_captions_even_without_classes(tmp_path):
    lines = [f"{x}.png,caption {x}" for x in "abcdefgh"]
    path = table(tmp_path, "image,caption\n" + "\n".join(lines), count=8)
    found = splits(path, val_fraction=0.25)
    assert (len(found.train), len(found.val)) == (6, 2)
    assert {*found.train.captions}.isdisjoint({*found.val.captions})
    other = table(tmp_path, "image,caption\nc.png,x\nb.png,y\n", "other.csv")
    train = table(tmp_path, "image,caption\na.png,x\n", "train.csv")
    found = splits(train, val_path=str(other))
    assert [*found.val.captions] == [("x",), ("y",)]


def test_other_captions_are_other_data(tmp_path):
    def digest(text):
        path = table(tmp_path, text)
        data = module("torchvision", dataset="captions", train_path=str(path), val_fraction=0.0)
        return identity_of_images(data).digest

    first = digest("image,caption\na.png,a cat\nb.png,a dog\n")
    assert first == digest("image,caption\na.png,a cat\nb.png,a dog\n\n")
    assert first != digest("image,caption\na.png,a cat\nb.png,a cow\n")


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("image,words\na.png,x\n", {}, "expected a column caption, got image, words in"),
        ("image,text,title\na.png,x,y\n", {}, "expected a column caption, got image, text, title"),
        ("a.png,x\nb.png,y\n", {}, "and the first line has to name the columns"),
        ("image\na.png\n", {}, "got image alone in"),
        ("image;caption\na.png,x\n", {}, "and semicolons between columns, as in the first line"),
        ("image,text\na.png,x\n", {"caption_key": "txt"}, "data.caption_key names another"),
        ("image,caption\na.png,x\n", {"label_key": "kind"}, "expected a column kind"),
        ("", {}, "got an empty file"),
        ("image,caption\n", {}, "lists no images"),
        (
            "image,caption\na.png,\n",
            {},
            "line 2: expected an image and its caption, got no caption",
        ),
        (
            "image,caption\na.png,x\n ,y\n",
            {},
            "line 3: expected an image and its caption, got no im",
        ),
        ("image,caption\na.png,x, y\n", {}, "line 2: expected 2 columns, got 3; put texts with"),
        ("image,caption\nno.png,x\n", {}, "no file"),
        ("image,caption\na.png\0,x\n", {}, "which is none"),
        (
            "image,caption,label\na.png,x,k\nb.png,y,k\n",
            {},
            "the one class k; set data.no_labels=true to train without labels",
        ),
        ('\n[{"image": "a.png", "caption": "x"}]', {}, "a table (CSV, UTF-8), got JSON in"),
        ('{"image": "a.png", "caption": "x"}\n', {}, "a table (CSV, UTF-8), got JSON in"),
        ("image,caption,label\na.png,x,k\na.png,y,l\n", {}, "one label of a.png, got l after k"),
        ("image,caption,caption\na.png,x,y\n", {}, "expected one column caption, got several"),
        ('image,caption\na.png,x\nb.png,"y\na.png,z\n', {}, "line 3: expected a row of a table"),
        (f"image,caption\na.png,{'x' * 140_000}\n", {}, "line 2: expected a row of a table"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_damaged_table_is_one_line(tmp_path, text, keys, message):
    kind = FileNotFoundError if message == "no file" else ValueError
    path = table(tmp_path, text)
    assert message in refusal(kind, dataset="captions", train_path=str(path), **keys)


def test_a_table_of_one_class_is_read_without_labels(tmp_path):
    path = table(tmp_path, "image,caption,label\na.png,x,k\nb.png,y,k\n")
    for keys in ({}, {"label_key": "label"}):
        source = splits(path, no_labels=True, **keys).train
        assert (source.classes, len(source)) == ((), 2)


def test_bytes_that_are_not_utf_8_are_named_with_their_line(tmp_path):
    path = table(tmp_path, "image,caption\na.png,x\n")
    path.write_bytes(path.read_bytes() + "b.png,été\n".encode("latin-1"))
    message = refusal(ValueError, dataset="captions", train_path=str(path))
    assert "line 3: expected UTF-8, got byte 0xe9" in message


def test_an_image_keeps_the_label_that_one_of_its_lines_has(tmp_path):
    lines = "a.png,x,k\na.png,y,\nb.png,z,\nb.png,v,l\n"
    path = table(tmp_path, f"image,caption,label\n{lines}")
    source = Splits(DataConfig(dataset="captions", train_path=str(path), val_fraction=0.0)).train
    assert [source.classes[one] for one in source.labels] == ["k", "l"]


def test_a_table_that_is_not_there_is_one_line(tmp_path):
    given = {"dataset": "captions", "train_path": str(tmp_path / "no.csv")}
    assert "no.csv, nothing there" in refusal(FileNotFoundError, **given)
    assert ", a folder" in refusal(FileNotFoundError, **{**given, "train_path": str(tmp_path)})
    assert "set it to a table" in refusal(ValueError, dataset="captions", train_path=None)
    assert "got caption; it is of" in refusal(ValueError, dataset="digits", caption_key="caption")


def test_tar_shards_have_captions_in_members_of_a_name(tmp_path):
    members = {"a.png": png(0), "a.txt": b"a cat ", "b.png": png(1), "b.txt": b"a dog"}
    place = str(tar_of(tmp_path / "one.tar", members))
    keys = {"dataset": "webdataset", "train_path": place, "val_fraction": 0.0}
    source = Splits(DataConfig(**keys, caption_key="txt")).train
    assert [*source.captions] == [("a cat",), ("a dog",)]
    assert source.classes == ()
    assert Splits(DataConfig(**keys)).train.captions is None
    message = refusal(ValueError, **keys, caption_key="cap")
    assert "data.caption_key: expected an extension" in message
    tar_of(tmp_path / "one.tar", members | {"c.png": png(2)})
    message = refusal(ValueError, **keys, caption_key="txt")
    assert "expected a caption of each image (txt, data.caption_key), got 1 of 3" in message


def test_repeated_texts_are_captions_and_no_labels_where_they_are_asked_for(tmp_path):
    members = {f"{n}.png": png(n) for n in range(6)} | {
        f"{n}.txt": b"ab"[n % 2 :][:1] for n in range(6)
    }
    keys = {"dataset": "webdataset", "train_path": str(tar_of(tmp_path / "one.tar", members))}
    assert Splits(DataConfig(**keys)).train.classes == ("a", "b")
    source = Splits(DataConfig(**keys, caption_key="txt")).train
    assert (source.classes, source.captions[1]) == ((), ("b",))


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_tables_have_captions_in_a_column_one_or_several(tmp_path, form):
    made = table_of([png(0), png(1)], [0, 1], ("ant", "bee"))
    made = made.append_column("title", [["an ant", "a bee"]])
    made = made.append_column("texts", [[["x", "y"], ["z"]]])
    write = {"arrow": arrow_of, "parquet": parquet_of}[form]
    path = write(tmp_path / f"one.{form}", made)
    keys = {"dataset": "hf", "train_path": str(path), "val_fraction": 0.0}
    source = Splits(DataConfig(**keys, caption_key="title")).train
    assert [*source.captions] == [("an ant",), ("a bee",)]
    assert source.classes == ("ant", "bee")
    source = Splits(DataConfig(**keys, caption_key="texts")).train
    assert [*source.captions] == [("x", "y"), ("z",)]
    message = refusal(ValueError, **keys, caption_key="no")
    assert "data.caption_key: expected one of image, label, title, texts, got no" in message


def test_digits_have_the_same_captions_in_every_run():
    first, again = (Splits(DataConfig("digits_captions")) for _ in range(2))
    assert first.train.captions.tolist() == again.train.captions.tolist()
    assert len(first.train) + len(first.val) == 1797
    assert all(len({*texts}) == 4 for texts in first.train.captions)
    assert not any("photo" in text for texts in first.train.captions for text in texts)
    assert first.train.classes[3] == "three"


def test_sentences_about_classes_are_captions_of_any_labelled_images():
    sentences = ["the digit {}", "{}"]
    source = Splits(DataConfig("digits", class_captions=sentences)).val
    assert source is not None
    assert [*source.captions] == [(f"the digit {label}", f"{label}") for label in source.labels]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"class_captions": ["a digit"]}, "with {} in place of the name of a class, got 'a digit'"),
        ({"class_captions": []}, "got none; such as"),
        ({"class_captions": ["{}"], "no_labels": True}, "null with data.no_labels=true"),
        ({"dataset": "digits_captions", "class_captions": ["{}"]}, "have captions of their own"),
    ],
)
def test_sentences_that_cannot_be_captions_are_one_line(keys, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        _ = Splits(DataConfig(**{"dataset": "digits", **keys})).train
    assert str(caught.value).startswith("data.class_captions: expected")
    assert "\n" not in str(caught.value)


def test_sentences_about_classes_need_a_class_of_each_image(tmp_path):
    path = table(tmp_path, "a.png 0\nb.png -1\nc.png 1\n", "list.txt")
    with pytest.raises(ValueError, match="a label of each image, got 1 of 3 without") as caught:
        _ = Splits(DataConfig("custom", str(path), val_fraction=0.0, class_captions=["a {}"])).train
    assert "\n" not in str(caught.value)


def test_one_caption_for_all_images_is_said(tmp_path):
    path = table(tmp_path, "image,caption\na.png,a cat\nb.png,a cat\n")
    images = Splits(DataConfig("captions", str(path), val_fraction=0.0))
    assert len(images.train) == 2
    assert "data: all captions are 'a cat', so that nothing can be learned" in images.notices[0]


def test_images_that_are_scored_are_those_with_labels(tmp_path):
    text = "image,caption,label\na.png,a cat,cat\nb.png,a dog,dog\nc.png,a bird,\n"
    path = str(table(tmp_path, text))
    data = module("torchvision", dataset="captions", train_path=path, val_path=path)
    assert (data.num_train_images, data.num_val_images) == (3, 2)
