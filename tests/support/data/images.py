"""Images on disk and their loaders, for tests of data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from solo_ldm.data import DataConfig, ImageSource, load_source
from solo_ldm.data.backends.choice import dali_installed
from solo_ldm.data.module import ImageDataModule

needs_dali = pytest.mark.skipif(not dali_installed(), reason="DALI is not installed (Linux only)")
BACKENDS = ["torchvision", pytest.param("dali", marks=needs_dali)]

# Every operator, asymmetric views, three sizes.
VIEWS = [
    {
        "crop_size": 24,
        "num_crops": 2,
        "rrc": {"crop_min_scale": 0.2, "crop_max_scale": 1.0},
        "color_jitter": {
            **{"prob": 0.8, "brightness": 0.4},
            **{"contrast": 0.4, "saturation": 0.2, "hue": 0.1},
        },
        "grayscale": {"prob": 0.2},
        "gaussian_blur": {"prob": 0.5},
        "solarization": {"prob": 0.2},
        "horizontal_flip": {"prob": 0.5},
    },
    {"crop_size": 12, "num_crops": 3, "rrc": {"crop_min_scale": 0.05, "crop_max_scale": 0.2}},
    {"crop_size": 16, "num_crops": 1, "affine": {"prob": 0.7, "degrees": 30, "translate": 0.1}},
]
ONE_VIEW = [{"crop_size": 24, "num_crops": 1, "rrc": {"crop_min_scale": 0.1}}]
PLAIN = {"mean": [0, 0, 0], "std": [1 / 255] * 3}


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def save(path: Path, colour=(10, 20, 30), size=(8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def make_classes(root, classes=("ant", "bee"), count=4):
    for number, name in enumerate(classes):
        for index in range(count):
            save(root / name / f"{index}.png", (number, index, 0))
    return root


def load(split="train", **values) -> ImageSource:
    source = load_source(DataConfig(**values), split)
    assert source is not None
    return source


def refusal(kind, split="train", **values):
    """Load what must not load; return the message, which is one line."""
    with pytest.raises(kind) as caught:
        load(split, **values)
    message = str(caught.value)
    assert "\n" not in message
    return message


def names_of(source):
    return [source.path(index).rpartition("/")[2] for index in range(len(source))]


def module(form, views=VIEWS, batch_size=16, seed=0, plain=None, **values):
    views = [{**view, **(plain or PLAIN)} for view in views]
    values = {"dataset": "custom", "num_workers": 2, "val_fraction": 0.25, **values}
    return ImageDataModule(DataConfig(format=form, **values), views, batch_size, seed)


def epoch_of(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def equal(first, second):
    return len(first) == len(second) and all(
        torch.equal(a[0], b[0])
        and all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))
        and torch.equal(a[2], b[2])
        for a, b in zip(first, second, strict=True)
    )


def close(ours, theirs, mean=1.0, most=6.0):
    """Within one level on average, and six for 99 of 100 values.

    Pillow rounds and clamps to [0, 255] between the two directions of a resize, DALI after both.
    """
    difference = (ours - theirs).abs()
    return difference.mean() < mean and difference.quantile(0.99) <= most


def odd_images(folder):
    """One image of each kind that DALI and Pillow would decode differently; equal in content."""
    folder.mkdir()
    photograph = Image.fromarray(load_sample_images().images[1][100:164, 200:264])
    rows = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    photograph.save(folder / "0.jpg", quality=95)
    photograph.convert("CMYK").save(folder / "1.jpg", quality=95)
    photograph.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "2.png")
    Image.fromarray(rows.astype(np.uint16)).save(folder / "3.png")
    faded = photograph.convert("RGBA")
    faded.putalpha(Image.fromarray((rows // 257).astype(np.uint8)))
    faded.save(folder / "4.png")
    photograph.save(folder / "5.bmp")
    photograph.save(folder / "6.webp", lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    photograph.resize((64, 32)).save(folder / "7.jpg", exif=turned, quality=95)


def with_broken(folder, photographs):
    """40 images of which three are broken: no image, cut off, and damaged in the middle."""
    shutil.copytree(photographs, folder)
    broken = [folder / "china" / name for name in ("00.jpg", "04.jpg", "06.png")]
    broken[0].write_bytes(b"no image at all")
    broken[1].write_bytes(broken[1].read_bytes()[:700])
    damaged = bytearray(broken[2].read_bytes())
    damaged[400:420] = b"\0" * 20
    broken[2].write_bytes(damaged)
    return [str(path) for path in broken]
