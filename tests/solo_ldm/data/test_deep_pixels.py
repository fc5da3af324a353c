"""Pixels deeper than 8 bits: their range is known, said, and the same for all images."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from solo_ldm.data import UnreadableImageError
from solo_ldm.data.sources.decoding import as_picture, read_image
from tests.support.data.images import BACKENDS, epoch_of, module, save

tifffile = pytest.importorskip("tifffile")
from tests.support.data.deep import WAVE, files, levels, splits  # noqa: E402

RANDOM = np.random.default_rng(0)


def ramps(low, high, dtype, count=4):
    """Images whose values are evenly spread from low to high, both included."""
    values = np.linspace(low, high, count * 64)[RANDOM.permutation(count * 64)]
    return [part.reshape(8, 8).astype(dtype) for part in np.split(values, count)]


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (3, 4000, np.uint16, (0, 4095)),
        (0, 200, np.uint16, (0, 255)),
        (0, 65535, np.uint16, (0, 65535)),
        (0, 70000, np.uint32, (0, 131071)),
        (2**31, 2**32 - 1, np.uint32, (0, 2**32 - 1)),
        (-1024, 3071, np.int16, (-1024, 3071)),
        (-9, 2**20, np.int32, (-9, 2**20)),
        (0.1, 0.9, np.float32, (0, 1)),
        (-2.5, 7.5, np.float32, (-2.5, 7.5)),
        (0.0, 1e4, np.float64, (0, 1e4)),
    ],
)
def test_the_range_is_that_of_a_sample_and_is_said(tmp_path, low, high, dtype, expected):
    arrays = ramps(low, high, dtype)
    found = splits(files(tmp_path, arrays), val_fraction=0.0)
    train = found.train
    assert train.pixel_range == pytest.approx(expected)
    (line,) = found.notices
    assert line.startswith("data.range: taken as ")
    assert "4 of 4 sampled files" in line
    start, end = expected
    for image, array in zip(levels(train), arrays[::2] + arrays[1::2], strict=True):
        exact = (array.astype(np.float64) - start) * 255 / (end - start)
        assert np.abs(image - exact[..., None]).max() <= 0.5 + 1e-9


def test_twelve_bits_keep_256_levels(tmp_path):
    root = files(tmp_path, ramps(0, 4095, np.uint16))
    assert len(np.unique(levels(splits(root, val_fraction=0.0).train))) == 256


def test_a_sample_of_eight_bits_has_no_range_and_nothing_to_say(tmp_path):
    save(tmp_path / "a" / "0.png")
    save(tmp_path / "b" / "0.jpg")
    found = splits(tmp_path, val_fraction=0.0)
    assert found.train.pixel_range is None
    assert found.notices == []
    given = splits(tmp_path, val_fraction=0.0, range=[0, 10])
    assert np.array_equal(levels(given.train), levels(found.train))
    assert "not used" in given.notices[0]


def test_a_given_range_clips_with_a_count_and_one_that_holds_little_is_refused(tmp_path):
    arrays = ramps(0, 1000, np.uint16)
    root = files(tmp_path, arrays)
    found = splits(root, val_fraction=0.0, range=[0, 750])
    assert "25 % of the sampled pixels are outside of [0, 750]" in "".join(
        line for line in (found.train, found.notices)[1]
    )
    config = {"train_path": str(root), "range": [0, 750], "num_workers": 0, "val_fraction": 0}
    data = module("torchvision", batch_size=4, **config)
    list(data.evaluation_dataloader("train"))
    assert data.clipped() == {"train": sum((one > 750).any() for one in arrays)}
    with pytest.raises(ValueError, match=r"data\.range: expected a range that holds") as caught:
        _ = splits(root, range=[0, 100]).train
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [[1], [0, 1, 2], [5, 5], [2, 1], "automatic", [0, "a"]])
def test_a_range_is_two_ascending_numbers(tmp_path, given):
    with pytest.raises(ValueError, match=r"data\.range: expected"):
        splits(tmp_path, range=given)


def test_a_range_of_which_few_levels_are_used_is_said(tmp_path):
    dark = ramps(100, 2650, np.uint16)
    hot, lost = [one.copy() for one in dark], [one / 2650.0 for one in dark]
    for one in hot:
        one[0, 0] = 65535
    for one in lost:
        one[:3] = -9999
    cases = {
        "hot pixels": (hot, None, "are 11 of the 256 levels of [0, 65535]; data.range=[1"),
        "no data": (lost, None, "are 1 of the 256 levels of [-9999, 1]; data.range=[0.0"),
        "12 bits in 16": (dark, [0, 65535], "data.range=[100,2650] uses all levels"),
        "as many as there are": ([one // 1024 * 1024 for one in dark], [0, 65535], None),
        "a range that fits": (hot, [100, 2650], None),
    }
    for name, (arrays, given, expected) in cases.items():
        found = splits(files(tmp_path / name, arrays), val_fraction=0.0, range=given)
        said = [line for line in (found.train, found.notices)[1] if "of the 256 levels" in line]
        assert len(said) == (expected is not None), name
        assert not said or expected in said[0], name


def test_validation_images_have_the_range_of_training(tmp_path):
    train = files(tmp_path / "train", ramps(0, 4000, np.uint16))
    val = files(tmp_path / "val", ramps(0, 1000, np.uint16))
    found = splits(train, val_path=str(val))
    assert found.val is not None
    assert found.val.pixel_range == found.train.pixel_range == (0, 4095)
    assert max(image.max() for image in levels(found.val)) == round(1000 * 255 / 4095)


def test_pixels_that_are_no_numbers_are_refused_by_name(tmp_path):
    arrays = [one.astype(np.float32) for one in ramps(0, 1, np.float32)]
    arrays[1][3, 3] = np.nan
    root = files(tmp_path, arrays)
    found = splits(root, val_fraction=0.0)
    bad = [index for index in range(4) if found.train.path(index).endswith("b/01.tif")]  # pyright: ignore
    with pytest.raises(UnreadableImageError, match=r"01\.tif.*no finite numbers.*nan_to_num"):
        found.train.load(bad[0])
    assert "1 of 4 sampled files cannot be used" in found.notices[0]
    for one in arrays:
        one[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"4 of 4 sampled files do not fit.*no finite numbers"):
        _ = splits(files(tmp_path, arrays)).train


def png_of_16_bits(pixels):
    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def test_colours_of_16_bits_keep_their_depth_whatever_the_format(tmp_path):
    pixels = RANDOM.integers(0, 4096, (6, 7, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png_of_16_bits(pixels))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    tifffile.imwrite(tmp_path / "b.tif", planes, photometric="rgb", planarconfig="separate")
    expected = np.floor(pixels * (255 / 4095) + 0.5)
    for name in ("a.png", "a.tif", "b.tif"):
        assert np.array_equal(np.asarray(read_image(tmp_path / name, (0, 4095))), expected), name
    opaque = np.concatenate([pixels, np.full((6, 7, 1), 32768, np.uint16)], axis=2)
    (tmp_path / "c.png").write_bytes(png_of_16_bits(opaque))
    seen = np.asarray(read_image(tmp_path / "c.png", (0, 4095))).astype(float)
    assert np.abs(seen - (expected / 2 + 127.5)).max() <= 1
    raw = np.asarray(read_image(tmp_path / "c.png", (0, 65535), 4))
    assert (raw[..., 3] == 128).all()


@pytest.mark.parametrize("form", BACKENDS)
def test_images_of_12_bits_train_as_those_of_8_bits_that_show_the_same(tmp_path, form):
    shown = [(np.roll(WAVE, n, 1) * 255).round().astype(np.uint8) for n in range(8)]
    # Levels of 12 bits that become exactly those of 8: 4095 / 255 is not whole.
    deep = [np.rint(one * (4095 / 255)).astype(np.uint16) for one in shown]
    deep[0][0, 0], shown[0][0, 0] = 4095, 255
    batches = [
        epoch_of(
            module(form, batch_size=8, train_path=str(files(tmp_path / name, arrays)), **range_)
        )[0]
        for name, arrays, range_ in (
            ("8", shown, {"val_fraction": 0.0}),
            ("12", deep, {"val_fraction": 0.0}),
        )
    ]
    for eight, twelve in zip(batches[0][1], batches[1][1], strict=True):
        assert (eight - twelve).abs().max() < 1e-3


def test_an_array_or_an_image_in_memory_is_taken_as_its_file(tmp_path):
    deep = RANDOM.integers(0, 4096, (5, 4)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    expected = np.asarray(read_image(tmp_path / "a.png", (0, 4095)))
    for image in (tmp_path / "a.png", Image.fromarray(deep), deep, deep[..., None]):
        assert np.array_equal(np.asarray(as_picture(image, (0, 4095))), expected)
        with pytest.raises(ValueError, match=r"no known range|got uint16"):
            as_picture(image)
    with pytest.raises(ValueError, match="images: expected a path, a Pillow image or a uint8"):
        as_picture([1, 2])
