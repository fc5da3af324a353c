"""Frames of video: how clips are found, read, split, and beside what they are known by."""

from __future__ import annotations

import builtins
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from predictive.data.registry import DATASETS
from predictive.data.sequences import as_floats
from predictive.data.video.clips import find_clips
from predictive.data.video.frames import frames

T, H, W = 6, 5, 4


def pixels(seed=0, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape or (T, H, W), dtype=np.uint8)


def save(folder: Path, values, suffix=".png") -> Path:
    """Write frames as images, numbered without leading zeros."""
    folder.mkdir(parents=True)
    for i, one in enumerate(values):
        Image.fromarray(one).save(folder / f"frame{i + 5}{suffix}")
    return folder


def clips(folder: Path, count=5, **kwargs) -> Path:
    for i in range(count):
        save(folder / f"clip{i + 8}", pixels(i), **kwargs)
    return folder


def test_a_folder_of_folders_is_clips_sorted_by_their_numbers_kept_as_bytes(tmp_path):
    data = frames(clips(tmp_path / "video"), fold=1, frame_rate=10.0)
    assert data.train.inputs.dtype == data.held_out.inputs.dtype == torch.uint8
    assert (data.kind, data.frame_shape, data.train.step_seconds) == ("frames", (1, H, W), 0.1)
    for part, seeds in ((data.held_out, [1]), (data.train, [0, 2, 3, 4])):
        expected = np.stack([pixels(seed).reshape(T, -1) for seed in seeds])
        assert (part.inputs.numpy() == expected).all()
    assert "5 clips of 30 frames, 5 × 4 pixels of 1 channel; 4 sequences" in data.description


def test_numbers_that_are_missing_among_frames_are_named(tmp_path):
    folder = clips(tmp_path / "video")
    assert "missing" not in frames(folder).description
    (folder / "clip9" / "frame10.png").rename(folder / "clip9" / "frame25.png")
    told = "video/clip9: 15 numbers are missing after frame9.png, and frames are taken one after"
    assert told in frames(folder).description
    for i, file in enumerate(sorted((folder / "clip9").iterdir())):  # times have no usual step
        file.rename(folder / "clip9" / f"{1000 + 7 * i * i}.png")
    assert "missing" not in frames(folder).description


@pytest.mark.parametrize("colour", [False, True])
def test_images_arrays_and_stacks_of_the_same_pixels_are_the_same_data(tmp_path, colour):
    values = pixels(0, 5, T, H, W, *([3] if colour else []))
    for i, one in enumerate(values):
        save(tmp_path / "images" / f"{i}", one)
        (tmp_path / "arrays").mkdir(exist_ok=True)
        np.save(tmp_path / "arrays" / f"{i}.npy", one)
        (tmp_path / "stacks").mkdir(exist_ok=True)
        first, *others = [Image.fromarray(frame) for frame in one]
        first.save(tmp_path / "stacks" / f"{i}.tif", save_all=True, append_images=others)
    np.savez(tmp_path / "all.npz", other=1, frames=values)
    expected = np.moveaxis(values.reshape(5, T, H, W, -1), -1, 2).reshape(5, T, -1)
    stacks = [tmp_path / "stacks" / f"{i}.tif" for i in range(5)]
    folders = [tmp_path / name for name in ("images", "arrays", "stacks")]
    for path in (*folders, tmp_path / "all.npz", stacks):
        data = frames(path)
        found = torch.cat([data.held_out.inputs, data.train.inputs])
        assert (found.numpy() == expected).all(), path
        assert data.frame_shape == (3 if colour else 1, H, W)


def test_animated_images_of_a_folder_are_clips_and_photographs_with_previews_are_frames(tmp_path):
    video = clips(tmp_path / "video", count=1)
    for folder, suffix in (("gifs", ".gif"), ("photos", ".mpo")):
        (video / folder).mkdir()
        for i in (2, 10):
            first, *others = [Image.fromarray(one) for one in pixels(i)]
            place = video / folder / f"{i}{suffix}"
            first.save(place, save_all=True, append_images=others)
    found = {one.name: (one.kind, len(one.files)) for one in find_clips(video)}
    assert list(found.items()) == [
        ("video/clip8", ("images", 6)),
        ("video/gifs/2.gif", ("pages", 1)),
        ("video/gifs/10.gif", ("pages", 1)),
        ("video/photos", ("images", 2)),
    ]
    data = frames(video / "gifs")
    expected = pixels(2).reshape(T, -1)
    assert (data.held_out.inputs[0].numpy().reshape(T, -1)[:, : H * W] == expected).all()


def test_channels_that_come_first_are_taken_for_frames_and_named(tmp_path):
    for count in (29, 30):
        np.save(tmp_path / "a.npy", pixels(0, count, 3, H, W))
        data = frames(tmp_path / "a.npy")
        assert ("clips of 3 gray frames: channels" in data.description) == (count == 30)
    np.save(tmp_path / "a.npy", pixels(0, 30, 1, H, W))
    with pytest.raises(ValueError, match="at least 2 frames, got 1; channels of an array come"):
        frames(tmp_path / "a.npy")


def test_frames_are_made_gray_as_pillow_does_and_resized(tmp_path):
    colour = pixels(0, T, H, W, 3)
    save(tmp_path / "a", colour)
    settings = {"split": "contiguous", "held_out_share": 0.4}
    data = frames(tmp_path / "a", gray=True, **settings)
    both = torch.cat([data.train.inputs, data.held_out.inputs], dim=1)[0].numpy().astype(int)
    theirs = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in colour])
    assert abs(both.reshape(T, H, W) - theirs.astype(int)).max() <= 1
    data = frames(tmp_path / "a", frame_size=8, frame_columns=6, **settings)
    assert data.frame_shape == (3, 8, 6)
    assert data.train.inputs.dtype == torch.uint8
    flat = np.full((T, H, W), 77, dtype=np.uint8)
    np.save(tmp_path / "flat.npy", flat)
    assert (frames(tmp_path / "flat.npy", frame_size=3, **settings).train.inputs == 77).all()


def test_deep_pixels_are_floats_from_0_to_1_and_floats_are_taken_as_they_are(tmp_path):
    deep = np.linspace(0, 65535, T * H * W).astype(np.uint16).reshape(T, H, W)
    real = np.random.default_rng(0).normal(size=(T, H, W)).astype(np.float32)
    for i in range(2):
        save(tmp_path / "deep" / f"{i}", deep)
        save(tmp_path / "real" / f"{i}", real, suffix=".tif")
    found = frames(tmp_path / "deep").train.inputs[0].numpy()
    np.testing.assert_allclose(found, deep.reshape(T, -1) / 65535, atol=1e-6)
    assert (frames(tmp_path / "real").train.inputs[0].numpy() == real.reshape(T, -1)).all()
    assert torch.equal(as_floats(torch.tensor([0, 255], dtype=torch.uint8)), torch.tensor([0, 1.0]))


def test_one_clip_is_split_in_time(tmp_path):
    np.save(tmp_path / "one.npy", pixels(0, 40, H, W))
    data = frames(tmp_path / "one.npy", split="blocks", block_seconds=4, fold=0)
    assert data.held_out.lengths.tolist() == [4, 4]
    assert data.held_out.start_seconds.tolist() == [0.0, 20.0]
    assert int(data.train.lengths.sum()) == 32


def write_targets(path: Path, rows, header) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_targets_are_a_row_for_each_frame_with_numbers_angles_and_categories(tmp_path):
    clips(tmp_path / "video")
    rows = [
        [f"video/clip{i + 8}", 100 * i + t, "" if t == 2 else t, 90 * t, "ab"[t % 2]]
        for i in range(5)
        for t in range(T)
    ]
    header = ["clip", "place_0", "place_1", "heading", "side"]
    table = write_targets(tmp_path / "t.csv", rows, header)
    kinds = {"heading": "degrees", "side": "categorical"}
    data = frames(tmp_path / "video", targets_path=str(table), targets=kinds, fold=2)
    found = {name: value[0] for name, value in data.held_out.targets.items()}
    assert found["place"][:, 0].tolist() == [200, 201, 202, 203, 204, 205]
    assert torch.isnan(found["place"][2, 1])
    torch.testing.assert_close(found["heading"][1], torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)
    assert found["side"].argmax(dim=1).tolist() == [0, 1, 0, 1, 0, 1]
    assert data.kinds["side"].categories == ("a", "b")


def test_a_clip_is_named_by_its_own_name_where_no_other_has_it(tmp_path):
    save(tmp_path / "v" / "a" / "x", pixels(0))
    save(tmp_path / "v" / "b" / "x", pixels(1))
    save(tmp_path / "v" / "b" / "y", pixels(2))
    for names, fits in ((["v/a/x", "v/b/x", "y"], True), (["v/a/x", "x", "v/b/y"], False)):
        rows = [[name, t] for name in names for t in range(T)]
        table = str(write_targets(tmp_path / "t.csv", rows, ["clip", "n"]))
        if fits:
            assert frames(tmp_path / "v", targets_path=table).held_out.targets["n"].sum() == 15
            continue
        with pytest.raises(ValueError, match="row 8: expected a frame of the clip v/b/x, got x"):
            frames(tmp_path / "v", targets_path=table)


def broken(folder: Path, what: str) -> dict:
    """Make something that cannot be used, and return the settings that name it."""
    video = clips(folder / "video")
    if what == "sizes":
        Image.fromarray(pixels(0, 3, 3)).save(video / "clip9" / "frame11.png")
    elif what == "other clip":
        save(video / "other", pixels(0, T, 3, 3))
    elif what == "empty":
        (video / "clip99").mkdir()
    elif what == "unreadable":
        (video / "clip10" / "frame7.png").write_bytes(b"no image")
    elif what == "pages":
        first, *others = [Image.fromarray(one) for one in pixels()]
        first.save(video / "clip9" / "stack.tif", save_all=True, append_images=others)
    elif what == "doubles":
        (folder / "doubles").mkdir()
        tifffile = pytest.importorskip("tifffile")
        values = pixels().astype(np.float64)
        tifffile.imwrite(folder / "doubles" / "a.tif", values, photometric="minisblack")
        return {"path": folder / "doubles"}
    elif what == "single":
        save(video / "single", pixels(0, 1, H, W))
    elif what == "few":
        return {"path": save(folder / "few", pixels())}
    elif what == "nowhere":
        return {"path": folder / "nowhere"}
    elif what == "text":
        (folder / "a.txt").write_text("no frames")
        return {"path": folder / "a.txt"}
    elif what == "axes":
        np.save(folder / "a.npy", pixels(0, 4, 4))
        return {"path": folder / "a.npy"}
    elif what == "array":
        (folder / "a.npy").write_bytes(b"no array")
        return {"path": folder / "a.npy"}
    elif what == "video":
        (folder / "a.mp4").write_bytes(b"no video")
        return {"path": folder / "a.mp4"}
    return {"path": video}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("sizes", r"clip9/frame11.png: expected a frame of 5 × 4 pixels and 1 channel as .*frame5"),
        ("other clip", r"frames of one size, got .*\(1, 5, 4\) in video/clip8 and \(1, 3, 3\) in"),
        ("empty", "frames .* in every folder, got none in .*clip99"),
        ("unreadable", "clip10/frame7.png: expected a frame, got a file that cannot be read"),
        ("pages", "one page each, .* got several in .*stack.tif and one in .*frame5.png; use two"),
        ("doubles", "a.tif: expected one page, got 6 of a kind that Pillow does not open; save"),
        ("single", "video/single: expected a clip of at least 2 frames, got 1"),
        ("few", "data.split: expected clips to train on .* got 1 in all; set data.split=blocks"),
        ("nowhere", "data.path: expected frames, got nothing at .*nowhere"),
        ("text", "data.path: expected a folder of frames, .* got .*a.txt"),
        ("axes", r"a.npy: expected frames \(T, H, W\).* got \(4, 4\)"),
        ("array", "a.npy: expected an array of frames, got"),
        ("video", "a.mp4: (a video file needs PyAV|expected a video, got)"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_it(tmp_path, what, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        frames(**broken(tmp_path, what))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([[1]] * 29, ["a"], "expected 30 rows below .* got 29"),
        ([[1]] * 29 + [[1, 2]], ["a"], "row 31: expected 1 fields, got 2"),
        ([["x"]] * 30, ["a"], "row 2: expected a number of a, got 'x'; set data.targets.a=categ"),
        ([["b", 1]] * 30, ["clip", "a"], "row 2: expected a frame of the clip video/clip8, got b"),
        ([[1]] * 30, ["b"], "data.targets.a: expected one of b"),
    ],
)
def test_targets_that_do_not_match_the_frames_are_one_line(tmp_path, rows, header, words):
    clips(tmp_path / "video")
    table = write_targets(tmp_path / "t.csv", rows, header)
    with pytest.raises(ValueError, match=words) as error:
        frames(tmp_path / "video", targets_path=str(table), targets={"a": "continuous"})
    assert "\n" not in str(error.value)


def test_a_video_file_without_pyav_is_one_line_that_says_what_to_install(tmp_path, monkeypatch):
    true_import = builtins.__import__

    def without(name, *rest):
        if name == "av":
            raise ImportError(name)
        return true_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match="needs PyAV: pip install 'solo-ldm"):
        frames(tmp_path / "a.mp4")


def test_a_video_file_has_its_own_rate(tmp_path):
    av = pytest.importorskip("av")
    values = np.repeat(np.arange(20, 220, 20, dtype=np.uint8), 32 * 32).reshape(10, 32, 32)
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=20)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuvj420p"
        for one in values:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="gray")))
        container.mux(stream.encode())
    data = frames(tmp_path / "a.avi", gray=True, split="contiguous", held_out_share=0.5)
    assert data.train.step_seconds == 0.05
    found = torch.cat([data.train.inputs, data.held_out.inputs], dim=1)[0].float().mean(dim=1)
    assert (found - torch.arange(20, 220, 20)).abs().max() < 4


def test_clips_are_named_by_their_place_and_hidden_files_are_left_out(tmp_path):
    clips(tmp_path / "video", count=2)
    (tmp_path / "video" / ".hidden").mkdir()
    assert [one.name for one in find_clips(tmp_path / "video")] == ["video/clip8", "video/clip9"]
    assert DATASETS["frames"] is frames
