"""The picture of gradients.csv, of numbers that are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from solo_ldm.commands.pretrain import gradients_picture
from solo_ldm.commands.pretrain.gradients_picture import write_gradients

NAMES = [f"{e} {over}" for e in ("kernel", "neighbour", "logdet") for over in ("joint", "marginal")]


def made(*epochs, names=NAMES):
    """Cosines that say where they are from: 0.1 an epoch, and less of losses."""
    return [
        {
            "epoch": epoch,
            "with_respect_to": respect,
            "quantity": quantity,
            "first": first,
            "second": second,
            "value": 0.1 * epoch + (0.3 if quantity == "entropy cosine" else 0.0),
        }
        for epoch in epochs
        for respect in ("latents", "encoder")
        for quantity in ("entropy cosine", "loss cosine")
        for first, second in itertools.combinations(names, 2)
    ]


@pytest.fixture
def drawn(monkeypatch):
    """The axes of a picture, in their order."""
    seen = []

    def remembered(draw):
        return lambda axes, *rest: (draw(axes, *rest), seen.append(axes))

    for name in ("_draw_lines", "_draw_matrix"):
        monkeypatch.setattr(gradients_picture, name, remembered(getattr(gradients_picture, name)))
    return seen


def test_lines_and_matrices_show_the_numbers_over_the_encoder(drawn, tmp_path):
    rows = made(0, 5, 2)
    for row in rows:
        row["value"] += 9.0 * (row["with_respect_to"] == "latents")
    path = write_gradients(tmp_path / "gradients.png", rows, "a run", "8 images")
    with Image.open(path) as image:
        assert image.size == (1600, 1100)
    lines = [[line for line in axes.lines if len(line.get_xdata()) == 3] for axes in drawn[:3]]
    assert [len(one) for one in lines] == [3, 6, 3]
    for shown, first in zip(lines, (0.3, 0.3, 0.0), strict=True):
        for line in shown:
            np.testing.assert_array_equal(line.get_xdata(), [0, 2, 5])
            np.testing.assert_allclose(line.get_ydata(), [first, first + 0.2, first + 0.5])
    for axes, value in zip(drawn[3:], (0.3, 0.8, 0.5), strict=True):
        expected = np.full((6, 6), value)
        np.fill_diagonal(expected, 1.0)
        np.testing.assert_allclose(axes.images[0].get_array(), expected)
        assert [label.get_text() for label in axes.get_yticklabels()] == NAMES


def test_a_pair_that_has_no_cosine_is_left_white(drawn, tmp_path):
    rows = [row for row in made(0, 1) if row["first"] != "kernel joint"]
    rows += [{**made(1)[0], "with_respect_to": "encoder", "value": float("nan")}]
    write_gradients(tmp_path / "gradients.png", rows, "a run", "8 images")
    assert np.isnan(np.asarray(drawn[3].images[0].get_array())).any()


def test_a_table_without_cosines_is_refused(tmp_path):
    rows = [row for row in made(0) if row["with_respect_to"] == "latents"]
    with pytest.raises(ValueError, match="expected cosines with respect to the encoder, got none"):
        write_gradients(tmp_path / "gradients.png", rows, "a run", "8 images")
    assert not list(tmp_path.iterdir())
