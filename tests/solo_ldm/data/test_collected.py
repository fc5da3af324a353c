"""Images that a program holds, of every kind, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.memory import hold
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.sources.collected import collect, side_of
from solo_ldm.data.sources.decoding import read_image

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (6, 9, 8), dtype=np.uint8)
COLOURS = RANDOM.integers(0, 256, (6, 9, 8, 3), dtype=np.uint8)
LABELS = np.arange(6)


class Features(list[Any], torch.utils.data.Dataset[Any]):
    """A data set of Hugging Face, as far as it is used: columns of types that have names."""

    def __init__(self, entries: list[Any], **columns: Any) -> None:
        super().__init__(entries)
        self.features = columns


def read(images: Any, labels: Any = None, **how: Any) -> Any:
    """Collect images; what is found of any type."""
    return collect(images, labels, **how)


def test_floats_become_the_levels_that_files_of_them_would():
    floats = RANDOM.uniform(-0.1, 1.1, (300, 9, 8, 3))
    floats[7:] = floats[7:].clip(0, 1)
    found = read(floats, pixel_range=(0, 1))
    expected = np.floor(floats.clip(0, 1) * 255 + 0.5)
    assert np.array_equal(found.images, expected)
    assert found.pixel_range == (0, 1)
    assert found.notices == (
        "data: 7 images hold values outside data_range=(0, 1), which are clipped",
    )
    few = read((GRAY // 32).astype(np.uint8), pixel_range=(0, 7))
    assert np.array_equal(few.images, np.floor(GRAY // 32 / 7 * 255 + 0.5))
    assert read(GRAY, pixel_range=(0, 255)).images is GRAY
    assert np.array_equal(read(GRAY > 99, pixel_range=(0, 1)).images, (GRAY > 99) * 255)


def test_arrays_of_8_bits_are_not_copied():
    assert read(COLOURS).images is COLOURS
    assert np.shares_memory(read(torch.from_numpy(GRAY)[:, None]).images, GRAY)
    assert np.shares_memory(read(GRAY[..., None]).images, GRAY)


def test_pictures_of_other_modes_are_read_as_files_of_them(tmp_path):
    modes = [Image.fromarray(COLOURS[0]).convert(mode) for mode in ("L", "P", "CMYK", "RGBA")]
    found = read(modes)
    for number, picture in enumerate(modes):
        picture.save(tmp_path / f"{number}.tif")
        expected = np.asarray(read_image(tmp_path / f"{number}.tif"))
        assert np.array_equal(found.images[number], expected)
    deep = Image.fromarray((GRAY[0] * 256.0).astype(np.uint16))
    assert np.array_equal(read([deep], pixel_range=(0, 255 * 256), channels=1).images[0], GRAY[0])
    with pytest.raises(ValueError, match=r"data_range: .* uint16"):
        read([deep])


def test_columns_of_hugging_face_are_found_by_their_types():
    class Value: ...

    class ClassLabel:
        names = ("cat", "dog")

    ClassLabel.__name__ = "ClassLabel"
    picture = type("Image", (), {})()
    entries = [
        {"id": n, "photo": Image.fromarray(COLOURS[n]), "kind": n % 2, "breed": "ab"[n % 2]}
        for n in range(6)
    ]
    columns = {"id": Value(), "photo": picture, "kind": ClassLabel(), "breed": Value()}
    found = read(Features(entries, **columns))
    assert np.array_equal(found.images, COLOURS)
    assert (found.classes, found.labels.tolist()) == (("cat", "dog"), [0, 1] * 3)
    assert read(Features(entries, **columns), "breed").classes == ("a", "b")
    assert read(Features(entries, **columns), LABELS).classes == tuple("012345")
    assert read(Features(entries, id=Value(), photo=picture)).classes == ()
    both = Features(entries, photo=picture, kind=ClassLabel(), coarse=ClassLabel())
    assert np.array_equal(read(both, labelled=False).images, COLOURS)
    with pytest.raises(ValueError, match="the name of one column of kind, coarse"):
        read(both)
    for wrong, message in (
        ({"id": Value()}, "data: expected one column of images, got none among id"),
        ({"photo": picture, "other": picture}, "got photo, other"),
    ):
        with pytest.raises(ValueError, match=message):
            read(Features(entries, **wrong))
    with pytest.raises(ValueError, match="labels: expected one of id, photo, kind, breed, got x"):
        read(Features(entries, **columns), "x")


def test_columns_of_pandas_are_read_by_position(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv("HOME", str(tmp_path))
    for number, pixels in enumerate(GRAY):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    table = pandas.DataFrame({"path": [f"~/{n}.png" for n in range(6)], "label": LABELS})
    shuffled = table.iloc[[3, 0, 5, 1, 4]]
    found = read(shuffled["path"], shuffled["label"])
    assert np.array_equal(found.images[..., 0], GRAY[[3, 0, 5, 1, 4]])
    assert [int(found.classes[one]) for one in found.labels] == [3, 0, 5, 1, 4]
    assert found.notices == ()
    assert side_of(shuffled["path"]) == 8
    with pytest.raises(ValueError, match=r"data: .* got DataFrame; give its column"):
        read(shuffled)


def test_a_range_that_few_levels_of_hold_the_values_is_named_and_one_that_leaves_most_out_refused():
    floats = COLOURS / 255
    for images in (floats, [*floats]):
        (line,) = read(images, pixel_range=(0, 255)).notices
        assert "2 of the 256 levels of [0, 255]; data_range=[0,1] uses all" in line
        with pytest.raises(ValueError, match=r"data_range: .* of data, got \(2, 3\), .* 100 %"):
            read(images, pixel_range=(2, 3))


@pytest.mark.parametrize("several", [False, True])
def test_copies_of_images_that_are_trained_on_are_not_scored_on(several):
    pixels = RANDOM.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 2

    def splits(images: Any, val: Any = None) -> Splits:
        held = [hold(read([*images] if several else images, labels))]
        paths: dict[str, Any] = {"train_path": held[0].place}
        if val is not None:
            numbers = [*map(str, np.arange(len(val)) % 2)]
            held.append(hold(read(val, numbers, key="val", like=held[0].listing)))
            paths["val_path"] = held[1].place
        found = Splits(DataConfig("memory", **paths))
        _ = found.train, found.val
        return found

    plain = splits(pixels)
    assert plain.notices == []
    assert plain.val is not None
    held_out = [next(n for n in range(40) if (pixels[n] == np.asarray(plain.val.load(i))[..., 0])
                     .all()) for i in range(len(plain.val))]  # fmt: skip
    kept = np.setdiff1d(np.arange(40), held_out)
    doubled = pixels.copy()
    doubled[held_out[:2]] = pixels[kept[:2]]
    found = splits(doubled)
    assert found.val is not None
    assert len(found.val) == len(held_out) - 2
    assert len(found.train) == len(kept) + 2
    assert found.notices[0].startswith("2 images of data are copies of others")
    assert "data[" in found.notices[0]
    assert found.notices[1] == "data.val_fraction: 2 images not held out, as copies are trained on"
    others = RANDOM.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    others[3] = pixels[7, :, :, None]
    found = splits(pixels, others)
    assert found.val is not None
    assert len(found.val) == 4
    (line,) = found.notices
    assert line.startswith("val: 1 of 5 validation images are left out, as they are training")
    assert line.endswith("such as val[3]")
    (line,) = splits(pixels, pixels[:6]).notices
    assert line.startswith("val: all 6 validation images are training images")


def test_images_of_several_sizes_are_held_as_they_are():
    several = [COLOURS[0], GRAY[1], COLOURS[2][:5]]
    found = read(several, ["b", "a", "b"])
    assert [one.shape for one in found.images] == [(9, 8, 3), (9, 8, 3), (5, 8, 3)]
    assert np.array_equal(found.images[1], np.repeat(GRAY[1][..., None], 3, axis=2))
    assert (found.classes, found.labels.tolist()) == (("a", "b"), [1, 0, 1])
    assert side_of(several) == 8


def test_equal_images_have_one_name_and_any_change_another():
    first = hold(read(COLOURS, LABELS))
    assert hold(read(COLOURS.copy(), LABELS)) is first
    other = COLOURS.copy()
    other[5, 8, 7, 2] ^= 1
    changed = [
        read(other, LABELS),
        read(COLOURS),
        read(COLOURS, LABELS[::-1]),
        read(COLOURS, [*"abcdef"]),
        read([*COLOURS[:5], COLOURS[5][:8]], LABELS),
        read(COLOURS.reshape(6, 8, 9, 3), LABELS),
    ]
    assert len({first.place, *(hold(one).place for one in changed)}) == 7


def test_labels_may_be_missing_in_part_and_validation_images_share_the_classes():
    train = read(GRAY, [3, -1, 7, 7, 3, -1])
    assert (train.classes, train.labels.tolist()) == (("3", "7"), [0, -1, 1, 1, 0, -1])
    val = read(GRAY[:2], [7, 7], key="val", like=train)
    assert (val.classes, val.labels.tolist()) == (("3", "7"), [1, 1])
    assert read(GRAY, torch.arange(6)).classes == tuple("012345")
    assert read(GRAY, [*map(np.int64, LABELS)]).labels.tolist() == [*range(6)]


REFUSED: list[tuple[Any, Any, str]] = [
    (COLOURS / 255, None, r"data_range: .* float64; theirs lie in 0 \.\.\. 1: give"),
    (GRAY.astype(np.int32), None, "data_range: .* int32"),
    (GRAY[0], None, "one image is a list of one"),
    (COLOURS[0], None, r"\(9, 8, 3\), as if one image of 3 channels; one .* \(N, H, W, 1\)"),
    (COLOURS[0] / 255, None, "one image is a list of one"),
    (torch.zeros(3, 9, 8), None, r"as if one image of 3 channels; .* \(N, 1, H, W\)"),
    (torch.zeros(9, 8, 4), None, "as if one image of 4 channels"),
    (["."], None, r"data\[0\]: . is a folder; give a list of the paths in it"),
    (GRAY[0, 0], None, r"data: expected images .* got uint8 \(8,\)"),
    (GRAY[:0], None, "data: expected images .* at least one"),
    ([], None, "data: expected images, got none"),
    (np.zeros((9, 3, 8, 8), np.uint8), None, r"data: expected \(N, H, W, C\) as NumPy"),
    (torch.zeros(9, 8, 8, 3), None, r"data: expected \(N, C, H, W\) as torch"),
    (np.zeros((9, 8, 8, 4), np.uint8), None, "data: expected images of 3 channels .* X"),
    (np.array([{}, 1], object), None, r"data\[0\]: expected an image .* got dict"),
    (np.empty((2, 2, 2), object), None, "data: expected images .* got object"),
    (["nowhere.png"], None, r"data\[0\]: nowhere.png cannot be read"),
    ({"train": GRAY}, None, "data: .* got dict of train; give one of them"),
    (iter(GRAY), None, "data: expected an array .* got iterator"),
    (torch.utils.data.DataLoader(Features([GRAY[0]])), None, r"got DataLoader; give its data set"),
    ([GRAY[0], None], None, r"data\[1\]: expected an image .* got NoneType"),
    (GRAY, LABELS[:5], r"labels: expected one label an image, \(6,\), got \(5,\)"),
    (GRAY, np.eye(6, dtype=int), r"labels: expected one label an image, \(6,\), got \(6, 6\)"),
    (GRAY, LABELS - 5, "labels: expected numbers from 0, .* got -5"),
    (GRAY, LABELS / 2, "labels: expected whole numbers, or names, got float"),
    (GRAY, [None] * 6, "labels: expected whole numbers, or names, got object"),
    (GRAY, LABELS * 0, "labels: expected two classes or more, got the one class 0; leave them out"),
]


@pytest.mark.parametrize(("images", "labels", "message"), REFUSED, ids=[one[2] for one in REFUSED])
def test_what_is_no_set_of_images_is_refused_in_one_line(images, labels, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(images, labels)
    assert "\n" not in str(caught.value)


def test_values_that_are_no_numbers_are_refused_by_the_image_that_holds_them():
    floats = COLOURS / 255
    floats[4, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"data\[4\]: .* no finite numbers"):
        read(floats, pixel_range=(0, 1))
    with pytest.raises(ValueError, match=r"data_range: .* theirs hold NaN"):
        read(floats)


def test_more_than_the_memory_is_refused_by_the_first_image():
    class Many(list):
        def __len__(self) -> int:
            return 10**15

    with pytest.raises(ValueError, match=r"data: .* memory .* save the images as files"):
        read(Many([GRAY[0]]))
