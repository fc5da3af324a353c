"""Images of other channels than red, green and blue."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from solo_ldm.data import DataConfig
from solo_ldm.data.augment.photometric import adjust_contrast, equalize, grayscale
from solo_ldm.data.datasets.registry import Splits
from tests.support import ROOT
from tests.support.data.images import VIEWS, close, epoch_of, module, needs_dali

tifffile = pytest.importorskip("tifffile")
from tests.support.data.deep import files, levels, splits, stacks  # noqa: E402


@pytest.mark.parametrize(
    ("channels", "dtype", "scale"),
    [(count, np.uint8, 255) for count in (1, 2, 4, 5)]
    + [(count, np.uint16, 4095) for count in (1, 2, 6)],
)
def test_every_channel_of_a_file_is_read_and_has_its_own_statistics(
    tmp_path, channels, dtype, scale
):
    arrays = [one if channels > 1 else one[..., 0] for one in stacks(channels, dtype, scale=scale)]
    config = {"planarconfig": "contig"} if channels > 1 else {}
    found = splits(files(tmp_path, arrays, **config), val_fraction=0.0, channels=channels)
    images = levels(found.train)
    exact = [one.reshape(30, 32, channels) * (255 / scale) for one in arrays[::2] + arrays[1::2]]
    assert np.abs(np.array(images) - np.array(exact)).max() <= 0.5 + 1e-9
    values = np.array(images) / 255
    assert found.train.mean == pytest.approx(values.mean((0, 1, 2)).tolist(), abs=1e-4)
    assert found.train.std == pytest.approx(values.std((0, 1, 2)).tolist(), abs=1e-4)
    assert any(line.startswith(f"data.channels: {channels}, of mean") for line in found.notices)


def test_pages_of_a_tiff_are_channels_where_they_are_asked_for_else_the_first_is_used(tmp_path):
    pages = [np.moveaxis(one, 2, 0) for one in stacks(3)]
    for number, page in enumerate(pages):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        tifffile.imwrite(
            tmp_path / "ab"[number % 2] / f"{number}.tif", page, photometric="minisblack"
        )
    asked = splits(tmp_path, val_fraction=0.0, channels=3)
    assert np.array_equal(levels(asked.train)[0], np.moveaxis(pages[0], 0, 2))
    first = splits(tmp_path, val_fraction=0.0)
    assert np.array_equal(levels(first.train)[0], np.repeat(pages[0][0][..., None], 3, 2))
    assert "4 of 4 sampled files hold several images" in first.notices[0]
    assert "of 3 pages of 30 × 32 pixels; data.channels=N takes N gray pages" in first.notices[0]
    message = refused(tmp_path, channels=6)
    assert "it has 3 pages of 30 × 32 pixels and 1 channel, data.channels is 6" in message
    assert "data.channels=3 takes its pages, such as the 3 frames of a clip" in message
    assert "planarconfig='contig'" in message


def test_clips_of_colours_are_written_as_the_page_on_video_says(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "video.md").read_text()
    code = next(one for one in re.findall(r"```python\n(.*?)```", page, re.S) if "imwrite" in one)
    monkeypatch.chdir(tmp_path)
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 20, 24, 3), np.uint8)
    for number, frames in enumerate(clips):
        exec(code, {"frames": frames, "np": np, "tifffile": tifffile})
        (tmp_path / "clip.tif").rename(tmp_path / f"clip{number}.tif")
    found = levels(splits(tmp_path, val_fraction=0.0, channels=24).train)
    expected = [np.concatenate([*frames], axis=2) for frames in clips]
    assert np.array_equal(found, expected)


def test_frames_in_files_of_their_own_are_asked_for_as_pages_of_one(tmp_path):
    Image.fromarray(stacks(1)[0][..., 0]).save(tmp_path / "frame0.png")
    message = refused(tmp_path, channels=8)
    assert "it has 1 channel, data.channels is 8; set data.channels=1, or write 8 " in message
    assert "such as frames of a clip, as one TIFF of 8 pages (docs/video.md)" in message


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations_are_said_to_be_read_by_their_first_image(tmp_path, suffix):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        frames = [Image.fromarray(one[..., 0]) for one in stacks(1)]
        path = tmp_path / folder / f"0.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        frames[0].save(tmp_path / folder / f"1.{suffix}", lossless=True)
    found = splits(tmp_path, val_fraction=0.0)
    assert np.array_equal(levels(found.train)[0][..., 0], np.asarray(frames[0]))
    assert "2 of 4 sampled files hold several images, of which the first" in found.notices[0]


def refused(root, **values):
    with pytest.raises(ValueError, match=r"^data") as caught:
        _ = splits(root, **values).train
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("channels", [4, 5])
def test_channels_that_are_not_asked_for_are_refused_with_the_key(tmp_path, channels):
    root = files(
        tmp_path, stacks(channels), planarconfig="contig", extrasamples=(0,) * (channels - 3)
    )
    assert f"set data.channels={channels}" in refused(root)
    assert f"set data.channels={channels}" in refused(root, channels=7)


def test_a_fourth_channel_of_a_tiff_is_asked_about_and_one_of_a_png_shows_white(tmp_path):
    for folder, suffix in (("tiff", "tif"), ("png", "png")):
        for number, array in enumerate(stacks(4)):
            path = tmp_path / folder / "ab"[number % 2]
            path.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path / f"{number}.{suffix}")
    message = refused(tmp_path / "tiff")
    assert "set data.channels=4 for a band, data.channels=3 for transparency" in message
    tiff = splits(tmp_path / "tiff", val_fraction=0.0, channels=3)
    png = splits(tmp_path / "png", val_fraction=0.0)
    assert np.array_equal(levels(tiff.train), levels(png.train))
    assert "4 of 4 sampled files are transparent in part" in png.notices[0]
    assert levels(splits(tmp_path / "tiff", val_fraction=0.0, channels=4).train)[0].shape[2] == 4


@needs_dali
@pytest.mark.parametrize(("channels", "dtype", "scale"), [(4, np.uint16, 4095), (1, np.uint8, 255)])
def test_both_backends_show_the_same_views_of_other_channels(tmp_path, channels, dtype, scale):
    arrays = [
        one if channels > 1 else one[..., 0] for one in stacks(channels, dtype, 8, scale=scale)
    ]
    root = files(tmp_path, arrays)
    views = [dict(view) for view in VIEWS]
    sets = []
    for form in ("dali", "torchvision"):
        plain = {"mean": [0] * channels, "std": [1 / 255] * channels}
        data = module(
            form,
            [{**view, **plain} for view in views],
            *(8, 0, plain),
            train_path=str(root),
            channels=channels,
            val_fraction=0.0,
        )
        assert data.backend.startswith(form)
        sets.append((epoch_of(data)[0], next(iter(data.evaluation_dataloader("train")))))
    (ours, plain_ours), (theirs, plain_theirs) = sets
    assert torch.equal(ours[0], theirs[0])
    for a, b in zip(ours[1], theirs[1], strict=True):
        assert a.shape[1] == channels
        assert close(a, b, mean=1.5)
    assert plain_ours[0].shape == (8, channels, 24, 24)
    assert close(plain_ours[0], plain_theirs[0])


def test_operators_on_other_channels_take_the_mean_for_the_luma():
    images = torch.rand(2, 5, 6, 6, generator=torch.Generator().manual_seed(0)) * 255
    mean = images.mean(dim=1, keepdim=True)
    assert torch.equal(grayscale(images), mean.expand_as(images))
    flat = adjust_contrast(images, torch.zeros(2))
    assert torch.allclose(flat, mean.mean(dim=(2, 3), keepdim=True).expand_as(flat))
    assert equalize(images).shape == images.shape


def test_statistics_of_views_need_a_number_a_channel(tmp_path):
    root = files(tmp_path, stacks(4))
    data = module("torchvision", train_path=str(root), channels=4)  # three numbers
    with pytest.raises(ValueError, match=r"augmentations\[0\]\.mean: expected one number or 4"):
        data.source("train")


def test_arrays_have_their_own_channels():
    gray = Splits(DataConfig(dataset="digits", channels=1)).train
    assert np.asarray(gray.load(0)).shape == (8, 8, 1)
    assert gray.mean == pytest.approx((0.3053,), abs=0.03)
    with pytest.raises(ValueError, match=r"data\.channels: expected 1 or 3"):
        _ = Splits(DataConfig(dataset="digits", channels=4)).train
