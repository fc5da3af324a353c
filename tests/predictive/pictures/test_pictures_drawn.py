"""What the pictures of a predictive run show: gaps, bands, paths, correlations and spaces."""

from __future__ import annotations

import numpy as np
import pytest

from predictive.pictures import (
    Decoded,
    frame_rows,
    history_rows,
    latent_rows,
    noise_rows,
    position_rows,
    space_rows,
)
from tests.support.axes import drawn, line, texts

RNG = np.random.default_rng(0)


def test_no_line_and_no_band_crosses_a_gap():
    # Three sequences of 40, 25 and 40 bins.
    lengths = (40, 25, 40)
    known = np.arange(40) < np.array(lengths)[:, None]
    seconds = np.arange(40) * 0.1 + np.array([0.0, 60.0, 100.0])[:, None]
    true = np.where(known, RNG.uniform(-2, 2, known.shape), np.nan)[..., None]
    (axes,) = drawn(
        position_rows(seconds, true, Decoded(true + 0.1, true - 0.2, true + 0.2)), "position"
    )
    shown = line(axes, "true")
    assert np.array_equal(shown[~np.isnan(shown[:, 0])][:, 1], true[..., 0][known])
    # Between two sequences, and nowhere else, is a point that is not drawn.
    assert np.flatnonzero(np.isnan(shown[:, 0])).tolist() == [40, 40 + 1 + 25]
    assert np.isnan(shown[np.isnan(shown[:, 0])]).all()
    (band,) = axes.collections
    assert len(band.get_paths()) == len(lengths)


def test_what_is_unknown_within_a_stretch_breaks_its_line():
    true = np.ones((1, 9, 2))
    true[0, 4, 0] = np.nan
    first, second = drawn(position_rows(np.arange(9.0), true, Decoded(true)), "position")
    assert np.isnan(line(first, "true")[:, 1]).sum() == 1
    assert np.isfinite(line(second, "true")).all()


def test_the_heading_gives_r2_and_coverage():
    true = np.zeros((10, 1))
    upper = np.where(np.arange(10)[:, None] < 8, 1.0, -0.5)
    decoded = Decoded(true - 0.8, true - 1, upper, r2=0.5, coverage=0.8)
    (axes,) = drawn(position_rows(np.arange(10), true, decoded), "position")
    assert "decoded from the latent state, R² 0.500" in texts(axes)
    assert "covers 80.0%" in texts(axes)


def test_two_sigma_bands_reach_two_standard_deviations():
    z = np.zeros((6, 2))
    axes = drawn(latent_rows(np.arange(6), z, z + 1, np.full_like(z, 0.09)), "latents")
    (band,) = axes[1].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(1 - 2 * 0.3)
    assert heights.max() == pytest.approx(1 + 2 * 0.3)
    assert "0.0% within" in texts(axes[0])


def test_paths_lie_at_the_pixels_of_the_dot():
    # Row 10 · (0 + 3) / 6 and column 10 · (1.2 + 3) / 6.
    position = np.tile([0.0, 1.2], (1, 5, 1))
    (axes,) = drawn(frame_rows(RNG.random((1, 5, 10, 10)), position), "frames")
    marks = [artist for artist in axes.lines if artist.get_marker() == "o"]
    assert np.asarray(marks[0].get_xydata())[0] == pytest.approx([7.0, 5.0])
    assert len(marks) == 5


def test_swirled_frames_have_no_path_on_them():
    rows = frame_rows(np.zeros((1, 5, 10, 10)), np.zeros((1, 5, 2)), swirled=True)
    (axes,) = drawn(rows, "frames")
    starts = [np.asarray(a.get_xydata())[0, 0] for a in axes.lines if len(a.get_xydata())]
    assert len(starts) == 1
    assert starts[0] > 8 * 10


def test_the_correlation_is_that_of_the_finite_bins_and_many_become_hexagons():
    true = np.linspace(1, 2, 50)
    (axes,) = drawn(noise_rows(np.append(-true, np.inf), np.append(true, 1.0)), "noise")
    assert "correlation −1.000" in texts(axes)
    assert len(axes.collections[0].get_offsets()) == 50
    (axes,) = drawn(noise_rows(RNG.random(3000), RNG.random(3000)), "noise")
    assert len(axes.collections[0].get_offsets()) < 3000


def test_noise_over_time_is_standardised():
    (axes,) = drawn(noise_rows(5 + 3 * RNG.random(80), RNG.random(80)), "noise over time")
    for name in ("true", "inferred"):
        values = line(axes, name)[:, 1]
        assert values.mean() == pytest.approx(0.0, abs=1e-9)
        assert values.std() == pytest.approx(1.0)


def test_an_unknown_direction_is_grey_and_no_dot_is_lost():
    direction = np.array([-1.0, 1.0, 0.0, np.nan, 1.0])
    (axes,) = drawn(space_rows(RNG.random((5, 2)), None, direction), "space 1")
    grey, coloured = axes.collections
    assert len(grey.get_offsets()) == 2
    assert len(np.unique(coloured.get_facecolors(), axis=0)) == 2
    assert len(coloured.get_offsets()) == 3


def test_principal_components_keep_distances():
    points = RNG.standard_normal((30, 2)) * [3.0, 0.2] @ [[0.8, 0.6], [-0.6, 0.8]]
    (axes,) = drawn(space_rows(points), "space 1")
    shown = np.asarray(axes.collections[0].get_offsets())
    assert np.linalg.norm(shown - shown.mean(0)) == pytest.approx(
        np.linalg.norm(points - points.mean(0))
    )
    assert shown[:, 0].std() > 5 * shown[:, 1].std()


def test_the_log_density_is_drawn_as_it_is_minimised():
    rows = history_rows([1, 2, 3], [3.0, 2.0, 1.0], [-1.0, np.nan, -0.2])
    (axes,) = drawn(rows, "losses")
    assert line(axes, "−log p").tolist() == [[1.0, 1.0], [3.0, 0.2]]
    assert [artist.get_label() for artist in axes.lines] == ["loss", "−log p"]
