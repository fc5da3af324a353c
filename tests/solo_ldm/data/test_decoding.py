"""Every mode of an image file becomes RGB with 8 bits a channel."""

import numpy as np
import pytest
from PIL import Image

from solo_ldm.data import UnreadableImageError
from solo_ldm.data.sources.images import read_image


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
    pixels = np.asarray(read_image(tmp_path / "deep.png", (0, 65535)))
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
    loaded = read_image(path, (0, 65535))
    assert isinstance(loaded, Image.Image)
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


def test_transparent_pixels_show_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_image(tmp_path / "clear.png")).min() == 255
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(tmp_path / "palette.png", transparency=b"\x00\xff")
    assert np.asarray(read_image(tmp_path / "palette.png")).min() == 255
