"""Sets that torchvision reads, in their formats on disk."""

import pickle

import numpy as np
import pytest
import scipy.io
import torchvision.datasets

from tests.support.data.images import load


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
