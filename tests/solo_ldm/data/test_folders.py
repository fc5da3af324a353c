"""Splits, class folders and loose images."""

import numpy as np
import pytest

from solo_ldm.data import DataConfig, load_source
from solo_ldm.data.datasets.registry import stratified_indexes
from tests.support.data.images import load, make_classes, save


def test_digits_splits_are_disjoint_complete_and_stratified():
    train, val = load(dataset="digits"), load("val", dataset="digits")
    assert len(train) + len(val) == 1797
    assert len(val) == round(0.2 * 1797)
    share = np.bincount(val.labels) / (np.bincount(val.labels) + np.bincount(train.labels))
    assert np.abs(share - 0.2).max() < 0.01
    seen = {np.asarray(train.load(index)).tobytes() for index in range(len(train))}
    assert not any(np.asarray(val.load(index)).tobytes() in seen for index in range(len(val)))


def test_digits_pixels_span_eight_bits_in_three_equal_channels():
    source = load(dataset="digits")
    pixels = np.stack([np.asarray(source.load(index)) for index in range(50)])
    assert pixels.shape == (50, 8, 8, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (pixels == pixels[..., :1]).all()


def test_a_fraction_keeps_the_classes_and_grows_by_inclusion():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    tenth, half = stratified_indexes(labels, 0.1), stratified_indexes(labels, 0.5)
    assert np.bincount(labels[tenth]).tolist() == [10, 5, 1]
    assert set(tenth) <= set(half)
    assert len(load(dataset="digits", fraction=0.1)) == round(0.1 * 1438)


def test_a_held_out_share_leaves_every_class_in_training(tmp_path):
    root = make_classes(tmp_path, count=1)
    assert set(load(dataset="custom", train_path=str(root)).labels) == {0, 1}


def test_no_labels_hides_every_label_and_uses_every_image():
    source = load(dataset="digits", no_labels=True)
    assert (len(source), source.classes, set(source.labels)) == (1797, (), {-1})
    assert load_source(DataConfig(dataset="digits", no_labels=True), "val") is None


def test_unknown_dataset_suggests_the_near_one():
    with pytest.raises(ValueError, match="did you mean cifar10"):
        load(dataset="cifar-10")


def test_class_folders_are_read_in_sorted_order(tmp_path):
    make_classes(tmp_path, ("bee", "ant"))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "ant" / ".hidden.png").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    source = load(dataset="custom", train_path=str(tmp_path), val_fraction=0.0)
    assert source.classes == ("ant", "bee")
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    assert np.asarray(source.load(5))[0, 0].tolist() == [0, 1, 0]
    assert (
        load_source(DataConfig(dataset="custom", train_path=str(tmp_path), val_fraction=0.0), "val")
        is None
    )


def test_custom_images_without_val_path_are_held_out(tmp_path):
    config = {"dataset": "custom", "train_path": str(make_classes(tmp_path, count=5))}
    train, val = load(**config), load("val", **config)
    assert (np.bincount(train.labels).tolist(), np.bincount(val.labels).tolist()) == (
        [4, 4],
        [1, 1],
    )


def test_custom_val_path_is_used_whole(tmp_path):
    train, val = make_classes(tmp_path / "train"), make_classes(tmp_path / "val", count=2)
    config = {"dataset": "custom", "train_path": str(train), "val_path": str(val)}
    assert (len(load(**config)), len(load("val", **config))) == (8, 4)


@pytest.mark.parametrize("layout", ["{}.png", "{}.png none", "{}.png more/{}.png"])
def test_loose_images_are_unlabelled(tmp_path, layout):
    (tmp_path / "none").mkdir()
    names = [name.format(number) for number in range(3) for name in layout.split()]
    for name in names:
        if name != "none":
            save(tmp_path / name)
    names = [name for name in names if name != "none"]
    config = DataConfig(dataset="custom", train_path=str(tmp_path))
    source = load_source(config, "train")
    assert source is not None
    assert (len(source), source.classes, source.labels.tolist()) == (
        len(names),
        (),
        [-1] * len(names),
    )
    assert load_source(config, "val") is None


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("layout", ["ant/{}.png", "ant/deeper/{}.png"])
def test_a_single_class_is_refused_unless_labels_are_not_wanted(tmp_path, layout, split):
    for index in range(3):
        save(tmp_path / layout.format(index))
    with pytest.raises(ValueError, match=r"the one class ant.*no_labels=true") as caught:
        load(split, dataset="custom", train_path=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert len(load(dataset="custom", train_path=str(tmp_path), no_labels=True)) == 3


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "test", "val"), ("train",)])
def test_splits_are_not_taken_for_classes(tmp_path, names):
    for name in names:
        make_classes(tmp_path / name)
    with pytest.raises(ValueError, match="look like splits; give the folder of the training"):
        load(dataset="custom", train_path=str(tmp_path))
    val = tmp_path / names[-1]
    config = {"train_path": str(tmp_path / names[0]), "val_path": str(val)}
    assert load("val", dataset="custom", **config).classes == ("ant", "bee")


def test_an_own_set_needs_a_path():
    with pytest.raises(ValueError, match=r"data\.train_path: missing"):
        load(dataset="image_folder", train_path=None)


@pytest.mark.parametrize("place", ["train", "val"])
def test_a_class_without_images_is_named(tmp_path, place):
    paths = {name: make_classes(tmp_path / name) for name in ("train", "val")}
    (paths[place] / "wasp").mkdir()
    (paths[place] / "wasp" / "notes.txt").write_text("no image")
    config = {f"{name}_path": str(path) for name, path in paths.items()}
    message = rf"data\.{place}_path: no images in 1 class folders of .*wasp.*remove"
    with pytest.raises(ValueError, match=message) as caught:
        load(place, dataset="custom", **config)
    assert "\n" not in str(caught.value)
    (paths[place] / "wasp").rename(paths[place] / ".wasp")
    assert load(place, dataset="custom", **config).classes == ("ant", "bee")


def test_a_fraction_of_unlabelled_images_is_taken(tmp_path):
    for index in range(10):
        save(tmp_path / f"{index}.png")
    config = {"dataset": "custom", "train_path": str(tmp_path)}
    half, most = load(**config, fraction=0.5), load(**config, fraction=0.9)
    assert (len(half), len(most)) == (5, 9)
    names = [{source.path(index) for index in range(len(source))} for source in (half, most)]
    assert names[0] < names[1]


def test_image_folder_is_another_name_of_custom(tmp_path):
    path = str(make_classes(tmp_path))
    for split in ("train", "val"):
        one = load(split, dataset="custom", train_path=path, val_fraction=0.5)
        other = load(split, dataset="image_folder", train_path=path, val_fraction=0.5)
        assert [one.path(index) for index in range(4)] == [other.path(index) for index in range(4)]
        assert np.array_equal(one.labels, other.labels)


def test_no_labels_reads_every_image_below_the_folder(tmp_path):
    make_classes(tmp_path)
    save(tmp_path / "loose.png")
    assert len(load(dataset="custom", train_path=str(tmp_path), no_labels=True)) == 9


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_folder_is_named(tmp_path, split):
    with pytest.raises(FileNotFoundError, match=r"got .*nowhere, which does not exist"):
        load(split, dataset="custom", train_path=str(tmp_path / "nowhere"))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="no images here"):
        load(dataset="custom", train_path=str(tmp_path))


def test_images_beside_class_folders_are_an_error(tmp_path):
    make_classes(tmp_path)
    save(tmp_path / "loose.png")
    with pytest.raises(ValueError, match=r"loose\.png.*no_labels"):
        load(dataset="custom", train_path=str(tmp_path))


def test_other_classes_in_validation_are_named(tmp_path):
    train = make_classes(tmp_path / "train")
    val = make_classes(tmp_path / "val", ("ant", "wasp"))
    with pytest.raises(ValueError, match="only in train: bee; only in val: wasp"):
        load("val", dataset="custom", train_path=str(train), val_path=str(val))
