"""The pictures of a predictive run: written whole, whatever a run lacks, refused in one line."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from predictive.pictures import (
    Decoded,
    frame_rows,
    history_rows,
    latent_rows,
    noise_rows,
    position_rows,
    score_rows,
    space_rows,
    write_report,
)
from solo_ldm.plotting.page import write_page
from solo_ldm.plotting.scores import Bar

RNG = np.random.default_rng(0)
SEQUENCES, BINS = 3, 40
# The second sequence is shorter.
KNOWN = np.arange(BINS) < np.array([BINS, 25, BINS])[:, None]
SECONDS = np.arange(BINS) * 0.1 + np.array([0.0, 60.0, 100.0])[:, None]
TRUE = np.where(KNOWN[..., None], RNG.uniform(-2, 2, (SEQUENCES, BINS, 2)), np.nan)
DECODED = TRUE + 0.1
Z = torch.tensor(RNG.standard_normal((SEQUENCES, BINS, 3)), requires_grad=True)
ONES = torch.ones(BINS, 3)
ESTIMATE = Decoded(DECODED[..., :1], DECODED[..., :1] - 0.2, DECODED[..., :1] + 0.2, 0.95)
BARS = [
    Bar("latent state", "linear", 0.9, [0.88, 0.92], [-0.05, 0.02, 0.01]),
    Bar("spikes", "MLP", -3.0, [-9.0, float("nan")]),
]
PICTURES = {
    "frames": partial(
        frame_rows, RNG.random((SEQUENCES, BINS, 10, 10)), TRUE, DECODED, 0.99, SECONDS
    ),
    "latents": partial(latent_rows, SECONDS[0], Z[0], Z[0] + 0.1, ONES, Z[0] * 0.9, ONES * 0.1),
    "noise": partial(noise_rows, np.square(TRUE[..., 0]) + 0.1, np.square(TRUE[..., 0]), SECONDS),
    "position": partial(position_rows, SECONDS, TRUE[..., :1], ESTIMATE, ESTIMATE, unit="m"),
    "space": partial(space_rows, Z, TRUE[..., :1], np.sign(TRUE[..., 0]), unit="m"),
    "scores": partial(score_rows, BARS),
    "history": partial(
        history_rows, [1, 2, 3], [3.0, 2.0, 1.0], [-1.0, -0.5, -0.2], [2.0, float("nan"), 1.0],
        {"linear": [0.1, float("nan"), 0.9]}, [0, 10, 20], [0.5, 0.4, float("inf")], (0.2, 0.9),
    ),
}  # fmt: skip
NAN = np.full((2, 5, 2), np.nan)
ONE = np.ones((5, 1))


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_1600_pixels_wide_and_leaves_nothing_else(tmp_path, name):
    path = write_page(tmp_path / "new" / "a.png", PICTURES[name](), name)
    with Image.open(path) as image:
        image.load()
        assert image.width == 1600
        assert 400 <= image.height <= 1400
        assert image.text["Title"] == name  # type: ignore[attr-defined]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"\.png, got 'a\.pdf'") as caught:
        write_page(tmp_path / "a.pdf", PICTURES[name](), name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.pdf").exists()


@pytest.mark.parametrize(
    "rows",
    [
        partial(frame_rows, np.full((2, 5, 4, 4), np.nan), NAN, NAN),
        partial(frame_rows, torch.rand(5, 4, 6), decoded=np.full((5, 2), np.inf), r2=np.nan),
        partial(latent_rows, np.arange(5), NAN[0], NAN[0], NAN[0]),
        partial(noise_rows, NAN[..., 0], NAN[..., 0]),
        partial(noise_rows, np.ones(30), np.ones(30)),
        partial(position_rows, np.arange(5), NAN[0], Decoded(NAN[0])),
        partial(space_rows, NAN, NAN, NAN[..., 0]),
        partial(space_rows, np.ones((2, 5, 1)), NAN, NAN[..., 0]),
        partial(score_rows, [Bar("a", "b", float("nan"), [np.nan], [np.inf])]),
        partial(score_rows, []),
        partial(history_rows),
        partial(history_rows, [1, 2], [np.nan] * 2, r2={"a": [np.nan] * 2, "b": [0.5, 0.6]}),
    ],
)
def test_what_is_not_finite_or_absent_does_not_break_a_picture(tmp_path, rows):
    with Image.open(write_page(tmp_path / "a.png", rows(), "a")) as image:
        image.load()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("frames", ["history"]),
        ("spikes", ["history", "latents"]),
        ("frames", PICTURES),
        ("spikes", PICTURES),
        ("signals", PICTURES),
    ],
)
def test_a_report_has_one_size_whatever_the_run_has(tmp_path, kind, names):
    pictures = {name: PICTURES[name] for name in names}
    path = write_report(tmp_path / "report.png", "costs $5 " * 40, kind, pictures)
    with Image.open(path) as image:
        assert image.size == (1600, 1000)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (partial(frame_rows, np.zeros((2, 5, 4, 4)), np.zeros((2, 4, 2))), "true"),
        (partial(frame_rows, np.zeros((5, 4))), "frames"),
        (partial(latent_rows, np.arange(4), np.zeros((5, 2))), "seconds"),
        (partial(latent_rows, np.arange(5), NAN[0], np.zeros((5, 3))), "predicted_mean"),
        (partial(latent_rows, np.arange(5), NAN[0], None, NAN[0]), "predicted_mean"),
        (partial(noise_rows, np.ones(4), np.ones(5)), "true"),
        (partial(position_rows, np.arange(5), ONE, Decoded(ONE[:4])), "latent.mean"),
        (partial(position_rows, np.arange(5), ONE, Decoded(ONE, lower=ONE)), "lower and upper"),
        (partial(space_rows, np.ones((5, 2)), np.ones((4, 1))), "position"),
        (partial(space_rows, np.ones((5, 2)), None, np.ones(4)), "direction"),
        (partial(score_rows, [Bar("a", "b", 0.5, [[0.1]])]), "folds"),
        (partial(history_rows, [1, 2], [1.0]), "loss"),
        (partial(history_rows, [1, 2], r2={"a": [1.0]}), "r2"),
        (partial(history_rows, cosine_steps=[1, 2], cosine=[1.0]), "cosine"),
    ],
)
def test_shapes_that_do_not_fit_are_one_line_and_keep_the_old_picture(tmp_path, rows, names):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=names) as caught:
        write_page(path, rows(), "a")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"


def test_a_report_of_an_unknown_kind_is_one_line(tmp_path):
    pictures: dict[str, Any] = {"history": history_rows}
    with pytest.raises(ValueError, match=r"kind: expected one of frames, .*, got 'sounds'"):
        write_report(tmp_path / "a.png", "x", "sounds", pictures)
