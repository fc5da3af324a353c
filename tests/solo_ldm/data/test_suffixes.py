"""Which files are images, by their names."""

import numpy as np
import pytest
from PIL import Image, features

from solo_ldm.data import DataConfig
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.sources.decoding import image_suffixes
from tests.support.data.images import load, refusal

# Of each: a suffix and how Pillow writes it.
WRITTEN = {
    **dict.fromkeys((".jfif", ".jpe", ".JPG", ".mpo"), "JPEG"),
    **dict.fromkeys((".apng", ".PNG"), "PNG"),
    **{".dib": "DIB", ".gif": "GIF", ".ico": "ICO", ".pcx": "PCX", ".pnm": "PPM"},
    **{".qoi": "QOI", ".sgi": "SGI", ".tga": "TGA", ".TIFF": "TIFF", ".webp": "WEBP"},
    **({".avif": "AVIF"} if features.check("avif") else {}),
    **({".jp2": "JPEG2000", ".j2k": "JPEG2000"} if features.check("jpg_2000") else {}),
}


def test_whatever_pillow_decodes_is_an_image_whatever_the_case_of_its_suffix(tmp_path):
    pixels = np.tile(np.arange(16, dtype=np.uint8)[:, None, None] * 16, (1, 16, 3))
    for number, (suffix, kind) in enumerate(WRITTEN.items()):
        folder = tmp_path / ("ab"[number % 2])
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels + np.uint8(number)).save(folder / f"{number}{suffix}", kind)
    source = load(dataset="custom", train_path=str(tmp_path), val_fraction=0.0)
    assert len(source) == len(WRITTEN)
    assert all(source.load(index).size == (16, 16) for index in range(len(source)))


def test_names_that_pillow_knows_but_does_not_decode_are_no_images():
    assert not image_suffixes() & {".pdf", ".h5", ".hdf", ".eps", ".ps", ".mpg", ".txt", ""}


def test_ignored_files_are_counted_by_suffix(tmp_path):
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (2, 2), (len(name), ord(name[0]), 0)).save(tmp_path / name)
    for name in ("a/1.txt", "b/2.TXT", "b/readme", "labels.csv", "a/.hidden"):
        (tmp_path / name).write_text("x")
    for config in ({}, {"no_labels": True}):
        found = Splits(DataConfig(dataset="custom", train_path=str(tmp_path), **config))
        assert len(found.train) == 2
        (line,) = found.notices
        assert line.startswith("data.train_path: 4 files ignored")
        assert all(count in line for count in ("2 .txt", "1 .csv", "1 without a suffix"))


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "a.npy").write_text("x")
    message = refusal(ValueError, dataset="custom", train_path=str(tmp_path))
    assert "1 .npy" in message


@pytest.mark.parametrize("suffix", [".jfif", ".jp2"])
def test_a_list_takes_the_same_suffixes(tmp_path, suffix):
    Image.new("RGB", (2, 2)).save(tmp_path / f"a b{suffix}", "JPEG")
    (tmp_path / "list.txt").write_text(f"# images\na b{suffix}\n")
    assert len(load(dataset="custom", train_path=str(tmp_path / "list.txt"))) == 1
