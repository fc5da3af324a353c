"""Tar shards: samples, labels, and what is wrong with them."""

import gzip
import io
import tarfile

import pytest

from solo_ldm.data import DataConfig
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.shards import index as index_module
from solo_ldm.data.shards import tars as tars_module
from tests.support.data.images import refusal
from tests.support.data.shards import contents, pixels_of, png, samples, source_of, tar_of, tars_of


def splits(place, **keys):
    keys = {"val_fraction": 0.0, **keys}
    return Splits(DataConfig(dataset="webdataset", train_path=str(place), **keys))


def of(tmp_path, members, **keys):
    return splits(tar_of(tmp_path / "one.tar", members), **keys)


def refused(tmp_path, members, **keys):
    place = tar_of(tmp_path / "one.tar", members)
    return refusal(ValueError, dataset="webdataset", train_path=str(place), **keys)


def test_shards_are_read_in_order_with_the_classes_of_their_samples(tmp_path):
    source = source_of("webdataset", tars_of(tmp_path, 3, 4))
    assert source.labels.tolist() == [0, 1] * 6
    assert source.classes == ("0", "1")
    assert contents(source) == pixels_of(range(12))
    assert source.path(5) == f"{tmp_path}/train-0001.tar/0005.png"


def test_names_are_compared_up_to_the_first_dot_of_the_name_not_of_the_folder(tmp_path):
    members = {"./v1.5/a.png": png(0), "v1.5/a.cls": b"7", "v1.5/b.seg.PNG": png(1)}
    members |= {"v1.5/b.cls": b"12", "b.cls": b"3"}
    source = of(tmp_path, members).train
    assert source.classes == ("7", "12")  # by value
    assert source.labels.tolist() == [0, 1]


def test_names_with_dots_are_samples_where_each_has_a_label_of_its_own(tmp_path):
    members = {"22.05.png": png(0), "22.05.cls": b"1", "22.06.png": png(1), "22.06.cls": b"0"}
    assert of(tmp_path, members).train.labels.tolist() == [1, 0]


def test_of_several_images_a_sample_one_must_be_named(tmp_path):
    members = {"a.left.png": png(0), "a.right.png": png(1), "a.cls": b"0"}
    members |= {"b.left.png": png(2), "b.right.png": png(3), "b.cls": b"1"}
    message = refused(tmp_path, members)
    assert "got several: left.png, right.png; set data.image_key=left.png" in message
    assert contents(of(tmp_path, members, image_key="right.png").train) == pixels_of([1, 3])
    assert of(tmp_path, members, image_key="*").train.labels.tolist() == [0, 0, 1, 1]
    assert "with the extension jpg" in refused(tmp_path, members, image_key="jpg")
    pairs = {"a.png": png(0), "a.bmp": png(1), "a.cls": b"0"}
    assert "got several: png, bmp" in refused(tmp_path, pairs)


def test_labels_of_json_and_of_short_texts_are_found_and_said(tmp_path):
    members = {}
    for number in range(4):
        members |= {f"{number}.jpg": png(number), f"{number}.txt": b"%d of many" % number}
        members |= {f"{number}.json": b'{"label": %d, "url": "%d"}' % (number // 2, number)}
    found = of(tmp_path, members)
    assert found.train.labels.tolist() == [0, 0, 1, 1]
    assert any("labels are those of .json members" in line for line in found.notices)
    captions = {name: one for name, one in members.items() if not name.endswith(".json")}
    found = of(tmp_path, captions)
    assert found.train.classes == ()
    assert any("4 texts of .txt members are taken for captions" in line for line in found.notices)
    assert len(of(tmp_path, captions, label_key="txt").train.classes) == 4
    short = {**captions, **{f"{number}.txt": b"cat" for number in range(3)}, "3.txt": b"dog"}
    found = of(tmp_path, short)
    assert found.train.classes == ("cat", "dog")
    said = "data.train_path: labels are those of .txt members, 2 classes (cat, dog); data.label_key"
    assert any(said in line for line in found.notices)
    assert "which data.train_path does not have" in refused(tmp_path, members, label_key="kin")


def test_a_field_of_json_or_an_extension_is_the_label_where_it_is_named(tmp_path):
    members = samples(range(4))
    for number in range(4):
        members |= {f"{number:04}.json": b'{"fine": "%s"}' % (b"abcd"[number : number + 1])}
        members |= {f"{number:04}.cls2": b"%d" % (number // 2)}
    assert of(tmp_path, members, label_key="fine").train.classes == tuple("abcd")
    assert of(tmp_path, members, label_key="cls2").train.labels.tolist() == [0, 0, 1, 1]
    assert of(tmp_path, members).train.labels.tolist() == [0, 1, 0, 1]


def test_samples_without_a_label_are_unlabelled_and_counted(tmp_path):
    members = samples(range(6))
    del members["0002.cls"]
    members["0003.cls"] = b"-1\n"
    found = of(tmp_path, members)
    assert found.train.labels.tolist() == [0, 1, -1, -1, 0, 1]
    assert any("1 of 6 images have no label in .cls" in line for line in found.notices)
    assert splits(tmp_path / "one.tar", no_labels=True).train.classes == ()


def test_labels_below_minus_one_and_a_single_class_are_refused(tmp_path):
    members = samples(range(4))
    assert "got -2" in refused(tmp_path, {**members, "0000.cls": b"-2"})
    alone = {name: b"3" if name.endswith("cls") else one for name, one in members.items()}
    assert "got the one class 3" in refused(tmp_path, alone)


# A sample takes four blocks of 512 bytes: headers and contents of its class and its image.
SAMPLE = 2048


@pytest.mark.parametrize(
    ("damage", "used", "reason"),
    [
        (lambda content: content[: 3 * SAMPLE + 1636], 3, "it ends within a member"),
        (lambda content: content[: 3 * SAMPLE], 3, "it has no end, as if it was cut off"),
        (lambda content: content[: 3 * SAMPLE + 100], 3, "a damaged header"),
        (
            lambda content: content[: 3 * SAMPLE] + b"x" * 512 + content[3 * SAMPLE + 512 :],
            3,
            "a damaged header",
        ),
        (
            lambda content: content + content,
            6,
            "something follows its end, as of tars joined by cat, not tar -A",
        ),
        (lambda content: b"", 0, "empty file"),
        (lambda content: b"no tar at all" * 100, 0, "invalid header"),
    ],
    ids=["in a member", "between members", "in a header", "a header", "joined", "empty", "no tar"],
)
def test_what_is_left_of_a_damaged_shard_is_used_and_the_shard_named(
    tmp_path, damage, used, reason
):
    pattern = tars_of(tmp_path, 3, 6)
    path = tmp_path / "train-0001.tar"
    path.write_bytes(damage(path.read_bytes()))
    found = splits(pattern)
    assert contents(found.train) == pixels_of([*range(6 + used), *range(12, 18)])
    said = f"1 of 3 shards are damaged from there on ({path}: {reason}, {used} images used)"
    assert [line for line in found.notices if "damaged" in line] == [f"data.train_path: {said}"]


def test_a_shard_without_images_is_said_and_one_alone_refused(tmp_path):
    pattern = tars_of(tmp_path, 2, 4)
    tar_of(tmp_path / "train-0001.tar", {})
    found = splits(pattern)
    assert len(found.train) == 4
    assert any("1 of 2 shards hold no image" in line for line in found.notices)
    message = refused(tmp_path, {"notes.md": b"x"})
    assert "got none; they hold 1 .md" in message


@pytest.mark.parametrize(
    ("magic", "name"),
    [(b"\x1f\x8b", "gzip"), (b"BZh9", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstandard")],
)
def test_compressed_shards_are_refused(tmp_path, magic, name):
    content = gzip.compress(tar_of(tmp_path / "a", samples(range(2))).read_bytes())
    path = tmp_path / "train-0.tar.gz"
    path.write_bytes(magic + content[len(magic) :])
    message = refusal(ValueError, dataset="webdataset", train_path=str(tmp_path))
    assert "expected a tar file without compression" in message
    assert f"got {name}" in message


def test_links_hidden_files_and_repeated_members_are_no_images_more(tmp_path):
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as tar:
        for name, number in (("a.png", 0), ("._a.png", 1), ("__MACOSX/b.png", 1), ("a.png", 2)):
            info = tarfile.TarInfo(name)
            info.size = len(png(number))
            tar.addfile(info, io.BytesIO(png(number)))
        link = tarfile.TarInfo("c.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        tar.addfile(link)
    found = splits(path)
    assert contents(found.train) == pixels_of([2])
    assert any("1 members of shards are replaced by later ones" in one for one in found.notices)
    assert any("no images: 1 links" in one for one in found.notices)


def test_names_of_any_length_and_alphabet(tmp_path):
    long = "d" * 120 + "/" + "ß" * 80
    members = {f"{long}.png": png(0), f"{long}.cls": "größer".encode(), **samples([1])}
    source = of(tmp_path, members).train
    assert source.path(0).endswith(f"/one.tar/{long}.png")
    assert source.classes == ("1", "größer")


def test_the_index_of_a_large_shard_is_read_once_until_the_shard_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOLO_LDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tars_module, "_LARGE", 1)
    path, read = tars_of(tmp_path, 1, 4), []
    members = tars_module._members
    monkeypatch.setattr(tars_module, "_members", lambda *a: read.append(a) or members(*a))

    def look(**keys):
        known = {"image_key": None, "label_key": None, "labelled": True, **keys}
        shard = tmp_path / "train-0000.tar"
        return tars_module.index_tars([shard], "data.train_path", **known)

    first, again = look(), look()
    assert len(read) == 1
    assert (first.images.rows == again.images.rows).all()
    assert (first.labels, first.notices) == (again.labels, again.notices)
    assert look(labelled=False).labels is None
    tar_of(tmp_path / "train-0000.tar", samples(range(3, 9)))
    assert len(look().images) == 6
    assert len(read) == 3
    monkeypatch.setattr(index_module, "user_cache", lambda kind: tmp_path / "train-0000.tar")
    assert len(look().images) == 6  # where nothing can be kept
    assert path
