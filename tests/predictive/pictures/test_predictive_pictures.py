"""The pictures of a predictive run: written whole, honest about gaps, whatever a run lacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from predictive.pictures import (
    Decoded,
    DecodedPosition,
    FramePaths,
    LatentSpace,
    LatentTrajectory,
    NoiseRecovery,
    PredictiveReport,
    Score,
    TrainingHistory,
    write_frames,
    write_history,
    write_latents,
    write_noise,
    write_position,
    write_report,
    write_scores,
    write_space,
)
from predictive.pictures.decoding import draw_position
from predictive.pictures.frames import draw_frames
from predictive.pictures.latents import draw_latents
from predictive.pictures.noise import draw_noise, draw_noise_over_time
from predictive.pictures.scores import draw_scores
from predictive.pictures.space import draw_space
from predictive.pictures.stretches import choose, split

RNG = np.random.default_rng(0)
SEQUENCES, BINS = 3, 40
# The second sequence is shorter.
KNOWN = np.arange(BINS) < np.array([BINS, 25, BINS])[:, None]
SECONDS = np.arange(BINS) * 0.1 + np.array([0.0, 60.0, 100.0])[:, None]
TRUE = np.where(KNOWN[..., None], RNG.uniform(-2, 2, (SEQUENCES, BINS, 2)), np.nan)
DECODED = TRUE + 0.1
Z = torch.tensor(RNG.standard_normal((SEQUENCES, BINS, 3)), requires_grad=True)

FRAMES = FramePaths(RNG.random((SEQUENCES, BINS, 10, 10)), TRUE, DECODED, 0.99, SECONDS)
LATENTS = LatentTrajectory(
    SECONDS[0], Z[0], Z[0] + 0.1, torch.ones(BINS, 3), Z[0] * 0.9, torch.full((BINS, 3), 0.1)
)
NOISE = NoiseRecovery(np.square(TRUE[..., 0]) + 0.1, np.square(TRUE[..., 0]), SECONDS)
ESTIMATE = Decoded(DECODED[..., :1], DECODED[..., :1] - 0.2, DECODED[..., :1] + 0.2, 0.95)
POSITION = DecodedPosition(SECONDS, TRUE[..., :1], ESTIMATE, ESTIMATE, unit="m")
SPACE = LatentSpace(Z, TRUE[..., :1], np.sign(TRUE[..., 0]), unit="m")
SCORES = [
    Score("latent state", "linear", 0.9, [0.88, 0.92], [-0.05, 0.02, 0.01]),
    Score("spikes", "MLP", -3.0, [-9.0, float("nan")]),
]
HISTORY = TrainingHistory(
    [1, 2, 3], [3.0, 2.0, 1.0], [-1.0, -0.5, -0.2], [2.0, float("nan"), 1.0],
    {"linear": [0.1, float("nan"), 0.9]}, [0, 10, 20], [0.5, 0.4, float("inf")], (0.2, 0.9),
)  # fmt: skip
PICTURES = [
    (write_frames, FRAMES, None),
    (write_latents, LATENTS, 900),
    (write_noise, NOISE, 700),
    (write_position, POSITION, 1000),
    (write_space, SPACE, 1000),
    (write_scores, SCORES, None),
    (write_history, HISTORY, 1000),
    (write_report, PredictiveReport("x", "frames", HISTORY, FRAMES, LATENTS, NOISE), 1000),
]
NAN = np.full((2, 5, 2), np.nan)


def new_axes(count: int = 1) -> list[Axes]:
    figure = Figure(figsize=(12, 8))
    FigureCanvasAgg(figure)
    return [figure.add_subplot(count, 1, i + 1) for i in range(count)]


def line(axes: Axes, label: str) -> np.ndarray:
    (found,) = (artist for artist in axes.lines if artist.get_label() == label)
    return np.asarray(found.get_xydata(), dtype=float)


def texts(axes: Axes) -> str:
    return " | ".join(text.get_text() for text in axes.texts)


@pytest.mark.parametrize(("write", "data", "height"), PICTURES[:-1])
def test_a_picture_is_1600_pixels_wide_and_leaves_nothing_else(tmp_path, write, data, height):
    path = write(tmp_path / "new" / "a.png", data)
    with Image.open(path) as image:
        image.load()
        assert image.width == 1600
        assert 400 <= image.height <= 1400
        assert height in (None, image.height)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("write", "data", "height"), PICTURES)
def test_another_ending_is_one_line_and_writes_nothing(tmp_path, write, data, height):
    with pytest.raises(ValueError, match=r"\.png, got 'a\.pdf'") as caught:
        write(tmp_path / "a.pdf", data)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("write", "data"),
    [
        (write_frames, FramePaths(np.full((2, 5, 4, 4), np.nan), NAN, NAN)),
        (write_frames, FramePaths(torch.rand(5, 4, 6), decoded=np.full((5, 2), np.inf), r2=np.nan)),
        (write_latents, LatentTrajectory(np.arange(5), NAN[0], NAN[0], NAN[0])),
        (write_noise, NoiseRecovery(NAN[..., 0], NAN[..., 0])),
        (write_noise, NoiseRecovery(np.ones(30), np.ones(30))),
        (write_position, DecodedPosition(np.arange(5), NAN[0], Decoded(NAN[0]))),
        (write_space, LatentSpace(NAN, NAN, NAN[..., 0])),
        (write_space, LatentSpace(np.ones((2, 5, 1)), NAN, NAN[..., 0])),
        (write_scores, [Score("a", "b", float("nan"), [np.nan], [np.inf])]),
        (write_scores, []),
        (write_history, TrainingHistory()),
        (write_history, TrainingHistory([1, 2], [np.nan] * 2, r2={"a": [np.nan] * 2})),
    ],
)
def test_what_is_not_finite_or_absent_does_not_break_a_picture(tmp_path, write, data):
    with Image.open(write(tmp_path / "a.png", data)) as image:
        image.load()


EVERYTHING = {
    "history": HISTORY, "frames": FRAMES, "latents": LATENTS, "noise": NOISE,
    "position": POSITION, "space": SPACE, "scores": SCORES,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("frames", {}),
        ("spikes", {"latents": LATENTS}),
        ("frames", EVERYTHING),
        ("spikes", EVERYTHING),
        ("signals", EVERYTHING),
    ],
)
def test_a_report_has_one_size_whatever_the_run_has(tmp_path, kind, parts):
    path = write_report(tmp_path / "report.png", PredictiveReport("costs $5 " * 40, kind, **parts))
    with Image.open(path) as image:
        assert image.size == (1600, 1000)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("write", "data", "names"),
    [
        (write_frames, FramePaths(np.zeros((2, 5, 4, 4)), np.zeros((2, 4, 2))), "true"),
        (write_frames, FramePaths(np.zeros((5, 4)), None), "frames"),
        (write_latents, LatentTrajectory(np.arange(4), np.zeros((5, 2))), "seconds"),
        (
            write_latents,
            LatentTrajectory(np.arange(5), np.zeros((5, 2)), np.zeros((5, 3))),
            "predicted_mean",
        ),
        (
            write_latents,
            LatentTrajectory(np.arange(5), np.zeros((5, 2)), None, np.ones((5, 2))),
            "predicted_mean",
        ),
        (write_noise, NoiseRecovery(np.ones(4), np.ones(5)), "true"),
        (
            write_position,
            DecodedPosition(np.arange(5), np.ones((5, 1)), Decoded(np.ones((4, 1)))),
            "latent.mean",
        ),
        (
            write_position,
            DecodedPosition(
                np.arange(5), np.ones((5, 1)), Decoded(np.ones((5, 1)), lower=np.ones((5, 1)))
            ),
            "lower and upper",
        ),
        (write_space, LatentSpace(np.ones((5, 2)), np.ones((4, 1))), "position"),
        (write_space, LatentSpace(np.ones((5, 2)), None, np.ones(4)), "direction"),
        (write_scores, [Score("a", "b", 0.5, [[0.1]])], "folds"),
        (write_history, TrainingHistory([1, 2], [1.0]), "loss"),
        (write_history, TrainingHistory([1, 2], r2={"a": [1.0]}), "r2"),
        (write_history, TrainingHistory(cosine_steps=[1, 2], cosine=[1.0]), "cosine"),
        (write_report, PredictiveReport("x", "sounds"), "kind"),  # type: ignore[arg-type]
    ],
)
def test_shapes_that_do_not_fit_are_one_line_and_keep_the_old_picture(tmp_path, write, data, names):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=names) as caught:
        write(path, data)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"


def test_no_line_and_no_band_crosses_a_gap():
    (axes,) = new_axes()
    draw_position([axes], POSITION)
    drawn = line(axes, "true")
    known = TRUE[..., 0][KNOWN]
    assert np.array_equal(drawn[~np.isnan(drawn[:, 0])][:, 1], known)
    # Between two sequences, and nowhere else, is a point that is not drawn.
    assert np.flatnonzero(np.isnan(drawn[:, 0])).tolist() == [BINS, BINS + 1 + 25]
    assert np.isnan(drawn[np.isnan(drawn[:, 0])]).all()
    (band,) = axes.collections
    assert len(band.get_paths()) == SEQUENCES


def test_a_jump_of_time_within_a_sequence_ends_a_stretch():
    seconds = np.array([[0.0, 1.0, 2.0, 10.0, 11.0, 3.0, 4.0]])
    known = np.ones((1, 7), dtype=bool)
    assert split(seconds, known) == [(0, 0, 3), (0, 3, 5), (0, 5, 7)]
    known[0, 1] = False
    assert split(seconds, known) == [(0, 0, 1), (0, 2, 3), (0, 3, 5), (0, 5, 7)]


def test_what_is_unknown_within_a_stretch_breaks_its_line():
    true = np.ones((1, 9, 2))
    true[0, 4, 0] = np.nan
    first, second = new_axes(2)
    draw_position([first, second], DecodedPosition(np.arange(9.0), true, Decoded(true)))
    assert np.isnan(line(first, "true")[:, 1]).sum() == 1
    assert np.isfinite(line(second, "true")).all()


def test_stretches_are_chosen_over_the_whole_held_out_time():
    seconds = np.arange(100) + 1000.0 * np.arange(20)[:, None]
    shown = choose(seconds, np.ones((20, 100), dtype=bool), max_bins=90, max_stretches=3)
    assert (shown.num_shown, shown.num_all) == (3, 20)
    drawn = ~np.isnan(shown.positions)
    assert drawn.sum() == 90
    rows = shown.sequence[drawn]
    assert rows.min() == 0
    assert rows.max() == 19
    assert (np.diff(shown.positions[drawn]) > 0).all()


def test_the_title_tells_r2_and_coverage():
    (axes,) = new_axes()
    true = np.zeros((10, 1))
    upper = np.where(np.arange(10)[:, None] < 8, 1.0, -0.5)
    data = DecodedPosition(np.arange(10), true, Decoded(true - 0.8, true - 1, upper, r2=0.5))
    draw_position([axes], data)
    assert "decoded from the latent state, R² 0.500" in texts(axes)
    assert "covers 80.0%" in texts(axes)


def test_two_sigma_bands_reach_two_standard_deviations():
    axes = new_axes(2)
    data = LatentTrajectory(np.arange(6), np.zeros((6, 2)), np.ones((6, 2)), np.full((6, 2), 0.09))
    draw_latents(axes, data)
    (band,) = axes[1].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(1 - 2 * 0.3)
    assert heights.max() == pytest.approx(1 + 2 * 0.3)
    assert "0.0% within" in texts(axes[0])


def test_paths_lie_at_the_pixels_of_the_dot():
    (axes,) = new_axes()
    # Row 10 · (0 + 3) / 6 and column 10 · (1.2 + 3) / 6.
    position = np.tile([0.0, 1.2], (1, 5, 1))
    draw_frames(axes, FramePaths(np.random.default_rng(0).random((1, 5, 10, 10)), position))
    marks = [artist for artist in axes.lines if artist.get_marker() == "o"]
    assert np.asarray(marks[0].get_xydata())[0] == pytest.approx([7.0, 5.0])
    assert len(marks) == 5


def test_swirled_frames_have_no_path_on_them():
    (axes,) = new_axes()
    data = FramePaths(np.zeros((1, 5, 10, 10)), np.zeros((1, 5, 2)), swirled=True)
    draw_frames(axes, data)
    starts = [np.asarray(a.get_xydata())[0, 0] for a in axes.lines if len(a.get_xydata())]
    assert len(starts) == 1
    assert starts[0] > 8 * 10


def test_the_correlation_is_that_of_the_finite_bins_and_many_become_hexagons():
    true = np.linspace(1, 2, 50)
    (axes,) = new_axes()
    draw_noise(axes, NoiseRecovery(np.append(-true, np.inf), np.append(true, 1.0)))
    assert "correlation −1.000" in texts(axes)
    assert len(axes.collections[0].get_offsets()) == 50
    (axes,) = new_axes()
    draw_noise(axes, NoiseRecovery(RNG.random(3000), RNG.random(3000)))
    assert len(axes.collections[0].get_offsets()) < 3000


def test_noise_over_time_is_standardised():
    (axes,) = new_axes()
    draw_noise_over_time(axes, NoiseRecovery(5 + 3 * RNG.random(80), RNG.random(80)))
    for name in ("true", "inferred"):
        values = line(axes, name)[:, 1]
        assert values.mean() == pytest.approx(0.0, abs=1e-9)
        assert values.std() == pytest.approx(1.0)


def test_an_unknown_direction_is_grey_and_no_dot_is_lost():
    (axes,) = new_axes()
    direction = np.array([-1.0, 1.0, 0.0, np.nan, 1.0])
    draw_space(axes, LatentSpace(RNG.random((5, 2)), None, direction), "direction")
    grey, coloured = axes.collections
    assert len(grey.get_offsets()) == 2
    assert len(np.unique(coloured.get_facecolors(), axis=0)) == 2
    assert len(coloured.get_offsets()) == 3


def test_principal_components_keep_distances():
    (axes,) = new_axes()
    points = RNG.standard_normal((30, 2)) * [3.0, 0.2] @ [[0.8, 0.6], [-0.6, 0.8]]
    draw_space(axes, LatentSpace(points), "none")
    drawn = np.asarray(axes.collections[0].get_offsets())
    assert np.linalg.norm(drawn - drawn.mean(0)) == pytest.approx(
        np.linalg.norm(points - points.mean(0))
    )
    assert drawn[:, 0].std() > 5 * drawn[:, 1].std()


def test_every_score_is_labelled_with_its_value_inside_the_axes():
    (axes,) = new_axes()
    draw_scores(axes, SCORES)
    assert "linear: 0.900" in texts(axes)
    assert "MLP: −3.000" in texts(axes)
    right = axes.get_window_extent().x1
    values = [text for text in axes.texts if ":" in text.get_text()]
    axes.figure.canvas.draw()
    assert all(text.get_window_extent().x1 <= right + 1 for text in values)
