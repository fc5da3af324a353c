"""ImageNet, ImageNet-100 and Tiny ImageNet: complete, or one line says what is wrong."""

import pytest
import torchvision.datasets.utils

from solo_ldm.data.datasets.imagenet import IMAGENET100
from solo_ldm.data.datasets.tiny_imagenet import URL as TINY_URL
from tests.support.data.images import load, names_of, refusal, write

# Enough names to fill ImageNet up; they are not those of its classes.
OTHERS = tuple(f"n9{number:07}" for number in range(900))
TINY = tuple(f"n{number:08}" for number in range(200))


@pytest.fixture(scope="module")
def full(tmp_path_factory, jpeg):
    """ImageNet with one training image a class."""
    root = tmp_path_factory.mktemp("imagenet") / "train"
    for name in (*IMAGENET100, *OTHERS):
        write(root / name / f"{name}_0.JPEG", jpeg)
    return root


def hundred(root, jpeg, count=1):
    for name in IMAGENET100:
        for number in range(count):
            write(root / name / f"{name}_{number}.JPEG", jpeg)
    return root


def test_the_hundred_classes_are_distinct_sorted_wordnet_numbers():
    assert len(set(IMAGENET100)) == 100
    assert list(IMAGENET100) == sorted(IMAGENET100)
    assert all(len(name) == 9 and name[0] == "n" and name[1:].isdigit() for name in IMAGENET100)
    # The first and the last of the published list, which is not sorted.
    assert {"n02869837", "n02090622"} <= set(IMAGENET100)


def test_imagenet_has_a_class_a_folder(full):
    config = {"dataset": "imagenet", "train_path": str(full), "val_path": str(full)}
    train, val = load(**config), load("val", **config)
    assert (len(train), len(val)) == (1000, 1000)
    assert train.classes == val.classes == tuple(sorted((*IMAGENET100, *OTHERS)))
    assert train.labels.tolist() == list(range(1000))
    assert train.load(3).size == (2, 2)


def test_imagenet100_is_taken_out_of_imagenet(full):
    source = load(dataset="imagenet100", train_path=str(full), val_path=str(full))
    assert source.classes == IMAGENET100
    assert names_of(source) == [f"{name}_0.JPEG" for name in IMAGENET100]


def test_imagenet100_stays_a_hundred_classes_without_labels(full):
    source = load(dataset="imagenet100", train_path=str(full), no_labels=True)
    assert (len(source), source.classes, set(source.labels)) == (100, (), {-1})


def test_imagenet100_is_read_from_its_own_folders(tmp_path, jpeg, full):
    root = hundred(tmp_path, jpeg, count=5)
    # Training images of one layout and validation images of the other have the same classes.
    config = {"dataset": "imagenet100", "train_path": str(root), "val_path": str(full)}
    train, val = load(**config), load("val", **config)
    assert (len(train), len(val)) == (500, 100)
    assert train.classes == val.classes == IMAGENET100


def test_imagenet100_without_a_validation_folder_holds_a_share_out(tmp_path, jpeg):
    config = {"dataset": "imagenet100", "train_path": str(hundred(tmp_path, jpeg, count=5))}
    train, val = load(**config), load("val", **config)
    assert (len(train), len(val)) == (400, 100)
    assert not set(names_of(train)) & set(names_of(val))


@pytest.mark.parametrize("place", ["train", "val"])
def test_missing_classes_of_imagenet100_are_counted_and_three_named(tmp_path, jpeg, place):
    paths = {name: hundred(tmp_path / name, jpeg) for name in ("train", "val")}
    for name in IMAGENET100[:5]:
        (paths[place] / name / f"{name}_0.JPEG").unlink()
        (paths[place] / name).rmdir()
    config = {f"{name}_path": str(path) for name, path in paths.items()}
    message = refusal(ValueError, place, dataset="imagenet100", **config)
    assert message.startswith(f"data.{place}_path: 5 of the 100 class folders")
    assert f"({', '.join(IMAGENET100[:3])} and 2 more)" in message
    assert "holds 95 folders" in message


def test_a_folder_that_is_not_of_imagenet100_is_named(tmp_path, jpeg):
    write(hundred(tmp_path, jpeg) / "cats" / "0.jpg", jpeg)
    message = refusal(ValueError, dataset="imagenet100", train_path=str(tmp_path))
    assert "got 101 folders" in message
    assert "(cats)" in message


def test_imagenet_with_other_folders_says_what_was_found_and_what_should_be(tmp_path, jpeg):
    for name in ("train", "val"):
        write(tmp_path / name / "n01440764" / "0.JPEG", jpeg)
    message = refusal(ValueError, dataset="imagenet", train_path=str(tmp_path))
    assert "expected the 1000 class folders of ImageNet (n01440764" in message
    assert "got 2 folders (train, val)" in message


def test_unsorted_validation_images_of_imagenet_are_recognised(tmp_path, jpeg, full):
    for number in range(5):
        write(tmp_path / f"ILSVRC2012_val_{number}.JPEG", jpeg)
    message = refusal(
        ValueError, "val", dataset="imagenet", train_path=str(full), val_path=str(tmp_path)
    )
    assert message.startswith("data.val_path:")
    assert "0 folders and 5 loose images" in message
    assert "sort loose images into them" in message


@pytest.mark.parametrize("name", ["imagenet", "imagenet100"])
@pytest.mark.parametrize("download", [False, True])
def test_missing_imagenet_says_how_to_get_it(tmp_path, name, download):
    path = tmp_path / "nowhere"
    message = refusal(FileNotFoundError, dataset=name, train_path=str(path), download=download)
    assert str(path) in message
    assert "https://image-net.org" in message
    assert "one folder a class" in message


def test_a_class_of_imagenet_without_images_is_named(tmp_path, jpeg):
    name = IMAGENET100[7]
    (hundred(tmp_path, jpeg) / name / f"{name}_0.JPEG").unlink()
    message = refusal(ValueError, dataset="imagenet100", train_path=str(tmp_path))
    assert f"no images in 1 class folders of {tmp_path} ({name})" in message


@pytest.fixture
def tiny(tmp_path, jpeg):
    """Tiny ImageNet with one training image a class and two validation images of two classes."""
    root = tmp_path / "tiny-imagenet-200"
    root.mkdir()
    (root / "wnids.txt").write_text("\n".join(reversed(TINY)) + "\n")
    for name in TINY:
        write(root / "train" / name / "images" / f"{name}_0.JPEG", jpeg)
        (root / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t1\t1\n")
    for number in range(2):
        write(root / "val" / "images" / f"val_{number}.JPEG", jpeg)
    annotate(root, "val_0.JPEG\tn00000190\t0\t0\t1\t1", "val_1.JPEG\tn00000005\t0\t0\t1\t1")
    return root


def annotate(root, *lines):
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("level", [".", ".."])
def test_tiny_imagenet_is_read_as_unpacked(tiny, level):
    config = {"dataset": "tiny_imagenet", "train_path": str(tiny / level)}
    train, val = load(**config), load("val", **config, val_path="ignored")
    assert (len(train), train.classes, train.labels.tolist()) == (200, TINY, list(range(200)))
    assert (names_of(val), val.labels.tolist()) == (["val_0.JPEG", "val_1.JPEG"], [190, 5])
    assert (val.classes, val.load(0).size) == (TINY, (2, 2))


@pytest.mark.parametrize("below", ["", "images"])
@pytest.mark.parametrize("leftovers", [False, True])
def test_tiny_imagenet_with_sorted_validation_images_is_read(tiny, jpeg, below, leftovers):
    for path in (tiny / "val" / "images").iterdir():
        path.unlink()
    if not leftovers:
        (tiny / "val" / "images").rmdir()
        (tiny / "val" / "val_annotations.txt").unlink()
    for name in TINY:
        write(tiny / "val" / name / below / f"{name}.JPEG", jpeg)
    val = load("val", dataset="tiny_imagenet", train_path=str(tiny))
    assert names_of(val) == [f"{name}.JPEG" for name in TINY]
    assert val.labels.tolist() == list(range(200))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["val_0.JPEG\tn00000190", "val_1.JPEG\tn77777777"], "1 classes not in wnids.txt (n777"),
        (["val_0.JPEG\tn00000190"], "1 images without a label (val_1.JPEG)"),
        (
            ["val_0.JPEG\tn00000190", "val_1.JPEG\tn00000190", "val_2.JPEG\tn00000190"],
            "1 labels without an image (val_2.JPEG)",
        ),
    ],
)
def test_annotations_that_do_not_fit_are_a_label_map_mismatch(tiny, lines, problem):
    annotate(tiny, *lines)
    message = refusal(ValueError, "val", dataset="tiny_imagenet", train_path=str(tiny))
    assert "label map mismatch" in message
    assert problem in message


def test_a_malformed_annotation_is_named_by_its_line(tiny):
    annotate(tiny, "val_0.JPEG\tn00000190", "val_1.JPEG n00000005")
    message = refusal(ValueError, "val", dataset="tiny_imagenet", train_path=str(tiny))
    assert "val_annotations.txt, line 2" in message


def test_missing_annotations_are_named(tiny):
    (tiny / "val" / "val_annotations.txt").unlink()
    message = refusal(FileNotFoundError, "val", dataset="tiny_imagenet", train_path=str(tiny))
    assert "val_annotations.txt" in message


def test_no_validation_images_of_tiny_imagenet_are_other_classes(tiny):
    (tiny / "val").rename(tiny / "gone")
    message = refusal(ValueError, "val", dataset="tiny_imagenet", train_path=str(tiny))
    assert f"{tiny / 'val'}: its classes differ" in message


def test_a_missing_class_of_tiny_imagenet_is_noticed(tiny):
    (tiny / "train" / TINY[3]).rename(tiny / "elsewhere")
    message = refusal(ValueError, dataset="tiny_imagenet", train_path=str(tiny))
    assert "expected 200 classes" in message
    assert "got 200 and 199, 199 in common" in message


def test_missing_tiny_imagenet_says_where_it_belongs_and_how_to_get_it(tmp_path):
    message = refusal(FileNotFoundError, dataset="tiny_imagenet", train_path=str(tmp_path))
    assert str(tmp_path / "tiny-imagenet-200") in message
    assert TINY_URL in message
    assert "data.download=true" in message


@pytest.mark.parametrize("name", [".", "tiny-imagenet-200"])
def test_tiny_imagenet_is_fetched_when_asked_to(tiny, tmp_path, monkeypatch, name):
    target = tmp_path / "new"

    def unpack(url, place, **options):
        assert (url, place) == (TINY_URL, str(target))
        tiny.rename(target / "tiny-imagenet-200")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", unpack)
    config = {"dataset": "tiny_imagenet", "train_path": str(target / name), "download": True}
    assert len(load(**config)) == 200


def test_a_failed_download_of_tiny_imagenet_is_one_line(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no route to host\nand a long story")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", fail)
    message = refusal(
        FileNotFoundError, dataset="tiny_imagenet", train_path=str(tmp_path), download=True
    )
    assert "(no route to host)" in message
