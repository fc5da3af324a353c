import pickle

import numpy as np
import pytest
import scipy.io
import torchvision.datasets
from PIL import Image

from solo_ldm.data import DataConfig, ImageSource, UnreadableImageError, load_source
from solo_ldm.data.datasets.registry import stratified_indexes
from solo_ldm.data.sources.images import ArrayImages, read_image


def save(path, colour=(10, 20, 30), size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def load(split="train", **values) -> ImageSource:
    source = load_source(DataConfig(**values), split)
    assert source is not None
    return source


def make_classes(root, classes=("ant", "bee"), count=4):
    for number, name in enumerate(classes):
        for index in range(count):
            save(root / name / f"{index}.png", (number, index, 0))
    return root


# --- splits ---------------------------------------------------------------------------------


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


# --- folders --------------------------------------------------------------------------------


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
    with pytest.raises(FileNotFoundError, match="got .*nowhere, which does not exist"):
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


# --- decoding -------------------------------------------------------------------------------


def test_truncated_jpeg_is_named(tmp_path):
    path = tmp_path / "half.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableImageError, match=r"half\.jpg.*delete it") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "fake.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"fake\.png"):
        read_image(path)


def test_sixteen_bit_png_is_scaled(tmp_path):
    values = np.array([[0, 257, 25700, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    pixels = np.asarray(read_image(tmp_path / "deep.png"))
    assert pixels[0].tolist() == [[0] * 3, [1] * 3, [100] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_usual_mode_becomes_rgb(tmp_path, mode):
    image = Image.new("L", (5, 4), 255)
    image = (
        Image.fromarray(np.full((4, 5), 65535, np.uint16))
        if mode == "I;16"
        else image.convert(mode)
    )
    path = tmp_path / f"image.{ {'CMYK': 'tif', 'YCbCr': 'jpg'}.get(mode, 'png') }"
    image.save(path)
    loaded = read_image(path)
    assert (loaded.mode, loaded.size) == ("RGB", (5, 4))
    assert np.asarray(loaded).min() >= 254


def test_cmyk_is_ink_and_a_palette_its_colours(tmp_path):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "cyan.jpg", quality=100)
    cyan = np.asarray(read_image(tmp_path / "cyan.jpg"))[0, 0].astype(int)
    assert np.abs(cyan - [0, 255, 255]).max() <= 3
    palette = Image.new("P", (1, 2))
    palette.putpalette([9, 8, 7, 200, 100, 50])
    palette.putdata([1, 0])
    palette.save(tmp_path / "palette.png")
    assert np.asarray(read_image(tmp_path / "palette.png"))[:, 0].tolist() == [
        [200, 100, 50],
        [9, 8, 7],
    ]


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (1, 1), (0, 100, 200, 51)).save(tmp_path / "rgba.png")
    assert np.asarray(read_image(tmp_path / "rgba.png"))[0, 0].tolist() == [204, 224, 244]
    Image.new("LA", (1, 1), (0, 51)).save(tmp_path / "la.png")
    assert np.asarray(read_image(tmp_path / "la.png"))[0, 0].tolist() == [204] * 3


def test_gray_is_three_equal_channels_and_one_bit_black_or_white(tmp_path):
    Image.new("L", (1, 1), 77).save(tmp_path / "gray.png")
    assert np.asarray(read_image(tmp_path / "gray.png"))[0, 0].tolist() == [77] * 3
    bits = Image.new("1", (2, 1))
    bits.putdata([0, 1])
    bits.save(tmp_path / "bits.png")
    assert np.asarray(read_image(tmp_path / "bits.png"))[0].tolist() == [[0] * 3, [255] * 3]


def test_arrays_know_their_sizes():
    images = ArrayImages(np.zeros((4, 6, 9, 3), np.uint8), "a", [0] * 4, ["x"], (0,) * 3, (1,) * 3)
    widths, heights = images.sizes(np.array([2, 0]))
    assert (widths.tolist(), heights.tolist()) == ([9, 9], [6, 6])
    assert widths.dtype == heights.dtype == np.int32
    assert images.load(0).size == (9, 6)


def test_transparent_pixels_show_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_image(tmp_path / "clear.png")).min() == 255
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(tmp_path / "palette.png", transparency=b"\x00\xff")
    assert np.asarray(read_image(tmp_path / "palette.png")).min() == 255


# --- named sets, in their formats on disk ---------------------------------------------------


class OldDtype:
    """Pickles as NumPy data types did in Python 2, which NumPy >= 2.4 warns about."""

    def __reduce__(self):
        return np.dtype, ("u1", 0, 1)


def write_cifar(root, name):
    folder = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    (root / folder).mkdir()
    generator = np.random.default_rng(0)

    def write(file, content):
        (root / folder / file).write_bytes(pickle.dumps(content))

    def batch(count):
        return {
            "data": generator.integers(0, 256, (count, 3072), np.uint8),
            "labels" if name == "cifar10" else "fine_labels": list(range(count)),
            "old": OldDtype(),
        }

    if name == "cifar10":
        for number in range(1, 6):
            write(f"data_batch_{number}", batch(4))
        write("test_batch", batch(4))
        write("batches.meta", {"label_names": [f"class{number}" for number in range(10)]})
        return 20
    write("train", batch(6))
    write("test", batch(4))
    write("meta", {"fine_label_names": [f"class{number}" for number in range(100)]})
    return 6


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read(tmp_path, monkeypatch, name):
    count = write_cifar(tmp_path, name)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: True)
    train = load(dataset=name, train_path=str(tmp_path), val_path="datasets/imagenet100/val")
    val = load("val", dataset=name, train_path=str(tmp_path), val_path="datasets/imagenet100/val")
    assert (len(train), len(val)) == (count, 4)
    assert len(train.classes) == int(name.removeprefix("cifar"))
    assert train.load(0).size == (32, 32)


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_mnist_is_read(tmp_path, name, folder):
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 5), ("t10k", 3)):
        images = np.arange(count * 784, dtype=np.int64).astype(np.uint8)
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = np.arange(count, dtype=np.uint8)
        header = np.array([0x801, count], ">i4").tobytes()
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    train = load(dataset=name, train_path=str(tmp_path))
    val = load("val", dataset=name, train_path=str(tmp_path))
    assert (len(train), len(val), len(train.classes)) == (5, 3, 10)
    assert train.labels.tolist() == [0, 1, 2, 3, 4]
    assert np.asarray(train.load(0))[0, 1].tolist() == [1, 1, 1]


def test_svhn_is_read_with_zero_as_its_first_class(tmp_path, monkeypatch):
    for split, count in (("train", 4), ("test", 2)):
        images = np.zeros((32, 32, 3, count), np.uint8)
        images[1, 2, 0, 0] = 200
        labels = np.arange(7, 7 + count)[:, None]
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": labels})
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda self: True)
    train = load(dataset="svhn", train_path=str(tmp_path))
    assert train.labels.tolist() == [7, 8, 9, 0]
    assert np.asarray(train.load(0))[1, 2].tolist() == [200, 0, 0]
    assert len(load("val", dataset="svhn", train_path=str(tmp_path))) == 2


def test_stl10_keeps_its_unlabelled_images_apart_from_its_labelled_ones(tmp_path, monkeypatch):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for file, count in (("train", 3), ("test", 2), ("unlabeled", 4)):
        pixels = np.zeros((count, 3, 96, 96), np.uint8)
        pixels[:, 0, 5, 2] = 100  # stored column first
        (folder / f"{file}_X.bin").write_bytes(pixels.tobytes())
        if file != "unlabeled":
            (folder / f"{file}_y.bin").write_bytes(bytes(range(1, count + 1)))
    (folder / "class_names.txt").write_text("\n".join(f"class{number}" for number in range(10)))
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    train = load(dataset="stl10", train_path=str(tmp_path))
    assert train.labels.tolist() == [0, 1, 2, -1, -1, -1, -1]
    assert train.labelled.tolist() == [0, 1, 2]
    assert np.asarray(train.load(3))[2, 5].tolist() == [100, 0, 0]
    assert load("val", dataset="stl10", train_path=str(tmp_path)).labels.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "svhn", "stl10"])
@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_a_missing_set_says_where_it_was_sought_and_how_to_fetch_it(tmp_path, name, folder):
    with pytest.raises(FileNotFoundError) as caught:
        load(dataset=name, train_path=str(tmp_path / folder))
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "expected" in message
    assert "data.download=true" in message
    assert "\n" not in message


def test_a_failed_download_is_one_clear_line(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("no route to host\nand a long story")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fail)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched .*no route") as caught:
        load(dataset="cifar10", train_path=str(tmp_path), download=True)
    assert "\n" not in str(caught.value)
