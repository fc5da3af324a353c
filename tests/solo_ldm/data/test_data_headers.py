import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from solo_ldm.data.sources.headers import Header, Kind, probe
from solo_ldm.data.sources.images import UnreadableImageError, read_image

SIZE = (21, 13)


def picture(mode="RGB", size=SIZE):
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels.astype(np.uint16).sum(-1).astype(np.uint16) * 80)
    return Image.fromarray(pixels).convert(mode)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def insert_segments(jpeg, *segments):
    """Put segments (marker, content) behind a JPEG's first two bytes."""
    inserted = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
    )
    return jpeg[:2] + inserted + jpeg[2:]


def insert_chunk(png, name, content):
    """Put a chunk behind a PNG's header."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return png[:33] + struct.pack(">I", len(content)) + name + content + checksum + png[33:]


def palette_with_a_clear_colour():
    image = picture("P")
    image.info["transparency"] = 0
    return image


JPEG = encode(picture(), "JPEG")
PNG = encode(picture(), "PNG")
# A hand-made JPEG whose components are named R, G, B: Pillow does not convert its colours.
NAMED_RGB = (
    JPEG.replace(JPEG[2:20], b"", 1)
    .replace(b"\x01\x22\x00\x02\x11\x01\x03\x11\x01", b"\x52\x22\x00\x47\x11\x01\x42\x11\x01", 1)
    .replace(b"\x01\x00\x02\x11\x03\x11", b"\x52\x00\x47\x11\x42\x11", 1)
)

PLAIN = {
    "jpeg": JPEG,
    "gray jpeg": encode(picture("L"), "JPEG"),
    "progressive jpeg": encode(picture(), "JPEG", progressive=True),
    "progressive gray jpeg": encode(picture("L"), "JPEG", progressive=True),
    "jpeg without subsampling": encode(picture(), "JPEG", subsampling=0, quality=100),
    "jpeg with restarts": encode(picture(), "JPEG", restart_marker_blocks=1),
    "rotated jpeg": encode(picture(), "JPEG", exif=exif(6)),
    "jpeg with a comment": encode(picture(), "JPEG", comment=b"x" * 60000),
    "jpeg with many large segments": insert_segments(JPEG, *[(0xED, b"x" * 65000)] * 3),
    "jpeg without JFIF": JPEG.replace(JPEG[2:20], b"", 1),
    "padded jpeg": JPEG + bytes(20),
    "jpeg with padded markers": JPEG[:20] + b"\xff\xff" + JPEG[20:],
    "png": PNG,
    "gray png": encode(picture("L"), "PNG"),
    "png with a long text": insert_chunk(PNG, b"tEXt", b"Comment\0" + b"x" * 20000),
    "large png": encode(picture(size=(200, 150)), "PNG"),
    "large jpeg": encode(picture(size=(200, 150)), "JPEG", quality=95),
}
UNUSUAL = {
    "cmyk jpeg": encode(picture("CMYK"), "JPEG"),
    "rgb jpeg": encode(picture(), "JPEG", keep_rgb=True),
    "jpeg with components R, G, B": NAMED_RGB,
    "adobe rgb jpeg": insert_segments(JPEG, (0xEE, b"Adobe\0\x64\0\0\0\0\0")),
    "jpeg with a trailer": JPEG + b"trailer of a telephone",
    "16-bit png": encode(picture("I;16"), "PNG"),
    "palette png": encode(picture("P"), "PNG"),
    "1-bit png": encode(picture("1"), "PNG"),
    "rgba png": encode(picture("RGBA"), "PNG"),
    "gray-alpha png": encode(picture("LA"), "PNG"),
    "png with a clear colour": encode(picture(), "PNG", transparency=(1, 2, 3)),
    "gray png with a clear colour": encode(picture("L"), "PNG", transparency=7),
    "palette png with a clear colour": encode(palette_with_a_clear_colour(), "PNG"),
    "animated png": encode(
        picture(), "PNG", save_all=True, append_images=[picture("L").convert("RGB")]
    ),
    "png with a trailer": PNG + b"trailer",
    "gif": encode(picture("P"), "GIF"),
    "bmp": encode(picture(), "BMP"),
    "ppm": encode(picture(), "PPM"),
    "tiff": encode(picture(), "TIFF"),
    "cmyk tiff": encode(picture("CMYK"), "TIFF"),
    "webp": encode(picture(), "WEBP"),
    "floating-point tiff": encode(picture("F"), "TIFF"),
}
UNREADABLE = {
    "empty": b"",
    "text": b"these are no pixels",
    "zeros": bytes(5000),
    "noise": np.random.default_rng(0).bytes(5000),
    "jpeg without an end": JPEG[:-2],
    "start of a jpeg alone": b"\xff\xd8\xff",
    "jpeg of two markers": b"\xff\xd8\xff\xd9",
    "start of a png alone": PNG[:8],
    "jpeg with noise for a header": b"\xff\xd8\xff" + bytes(range(200)) + b"\xff\xd9",
    "png with a damaged header": PNG[:17] + b"\x07" + PNG[18:],
    "png without pixels": PNG[:33] + PNG[-12:],
}
EVERY = {**PLAIN, **UNUSUAL, **UNREADABLE}


def write(tmp_path, content, name="image"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def readable(path):
    try:
        read_image(path, (0, 65535))
    except UnreadableImageError:
        return False
    return True


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_file_is_decoded_by_pillow_to_the_probed_size(tmp_path, name):
    path = write(tmp_path, PLAIN[name])
    assert probe(path) == Header(*read_image(path).size, Kind.PLAIN)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_file_needs_nothing_of_read_image_but_gray_to_colour(tmp_path, name):
    path = write(tmp_path, PLAIN[name])
    with Image.open(path) as image:
        assert image.mode in ("L", "RGB")
        assert "transparency" not in image.info
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(read_image(path)))


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_file_is_readable_at_the_probed_size(tmp_path, name):
    path = write(tmp_path, UNUSUAL[name])
    assert probe(path) == Header(*read_image(path, (0, 65535)).size, Kind.UNUSUAL)


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_one_that_read_image_refuses(tmp_path, name):
    path = write(tmp_path, UNREADABLE[name])
    assert not readable(path)
    assert probe(path) == Header(0, 0, Kind.UNREADABLE)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".txt", ""])
@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "text"])
def test_the_content_decides_and_not_the_suffix(tmp_path, name, suffix):
    expected = probe(write(tmp_path, EVERY[name]))
    assert probe(write(tmp_path, EVERY[name], f"renamed{suffix}")) == expected


SMALL = {
    "jpeg": encode(picture(size=(5, 3)), "JPEG"),
    "cmyk jpeg": encode(picture("CMYK", (5, 3)), "JPEG"),
    "png": encode(picture(size=(5, 3)), "PNG"),
    "rgba png": encode(picture("RGBA", (5, 3)), "PNG"),
    "16-bit png": encode(picture("I;16", (5, 3)), "PNG"),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_file_cut_at_any_length_is_unreadable_exactly_where_read_image_raises(tmp_path, name):
    kinds, content = set(), SMALL[name]
    for length in range(len(content)):
        path = write(tmp_path, content[:length])
        kind = probe(path).kind
        assert (kind == Kind.UNREADABLE) == (not readable(path)), length
        kinds.add(kind)
    assert Kind.PLAIN not in kinds
    assert Kind.UNREADABLE in kinds


def test_a_jpeg_cut_right_behind_the_end_of_its_thumbnail_is_unreadable(tmp_path):
    content = insert_segments(JPEG, (0xE1, b"Exif\0\0" + JPEG))
    assert probe(write(tmp_path, content)).kind == Kind.PLAIN
    cut = content[: content.index(b"\xff\xd9") + 2]
    assert probe(write(tmp_path, cut)).kind == Kind.UNREADABLE


def test_an_orientation_does_not_turn_the_size(tmp_path):
    path = write(tmp_path, PLAIN["rotated jpeg"])
    with Image.open(path) as image:
        assert ImageOps.exif_transpose(image).size == SIZE[::-1]
    assert probe(path)[:2] == read_image(path).size == SIZE


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path):
    assert probe(tmp_path / "nowhere.png").kind == Kind.UNREADABLE
    assert probe(tmp_path).kind == Kind.UNREADABLE


def test_images_that_pillow_refuses_for_their_size_are_unreadable(tmp_path, monkeypatch):
    paths = [write(tmp_path, JPEG, "a"), write(tmp_path, PNG, "b"), write(tmp_path, PNG[:-12], "c")]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert [probe(path).kind for path in paths] == [Kind.UNREADABLE] * 3
    assert not any(readable(path) for path in paths)


def test_usual_files_are_not_decoded(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("decoded")

    names = (*PLAIN, "cmyk jpeg", "rgba png", "16-bit png", "palette png")
    paths = [write(tmp_path, EVERY[name], name) for name in names]
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert all(probe(path).width for path in paths)


def test_kinds_fit_a_byte_and_come_back():
    kinds = np.array(list(Kind), np.uint8)
    assert [Kind(number) for number in kinds] == list(Kind)
