"""Layout and look: what every picture of both packages relies on."""

from __future__ import annotations

import pytest

from solo_ldm.plotting.page import Panel, compose
from solo_ldm.plotting.scores import Bar, draw_scores
from solo_ldm.plotting.style import heading, legend_above, one_line
from tests.support.axes import new_axes, texts

BARS = [
    Bar("latent state", "linear", 0.9, [0.88, 0.92], [-0.05, 0.02, 0.01]),
    Bar("spikes", "MLP", -3.0, [-9.0, float("nan")]),
]


def test_every_score_is_labelled_with_its_value_inside_the_axes():
    (axes,) = new_axes()
    draw_scores(axes, BARS, "Decoders")
    assert "linear: 0.900" in texts(axes)
    assert "MLP: −3.000" in texts(axes)
    assert "dots: folds" in texts(axes)
    right = axes.get_window_extent().x1
    values = [text for text in axes.texts if ":" in text.get_text()]
    axes.figure.canvas.draw()
    assert all(text.get_window_extent().x1 <= right + 1 for text in values[:2])


def test_panels_fill_the_page_in_rows_and_do_not_overlap():
    inner = [[Panel("c", height=1.0)], [Panel("d", height=3.0)]]
    rows = [
        [Panel("a", stack=2), Panel("b", width=2.0, left=1.0)],
        [],
        [Panel("columns", rows=inner)],
    ]
    seen = {}

    def record(rows):
        return [
            [
                panel._replace(
                    rows=record(panel.rows),
                    draw=lambda axes, name=panel.name: seen.update({name: axes}),
                )
                for panel in row
            ]
            for row in rows
        ]

    figure = compose(record(rows), title="a title", note="a note", width=12.0, height=9.0)
    assert figure.get_size_inches().tolist() == [12.0, 9.0]
    boxes = {name: axes[-1].get_position() for name, axes in seen.items()}
    assert len(seen["a"]) == 2
    assert boxes["b"].width == pytest.approx(2 * boxes["a"].width)
    assert boxes["a"].x1 < boxes["b"].x0
    assert boxes["a"].y0 > boxes["c"].y1 > boxes["c"].y0 > boxes["d"].y1 > boxes["d"].y0 > 0
    assert boxes["d"].height == pytest.approx(3 * boxes["c"].height)


def test_a_heading_is_no_wider_than_its_axes_and_leaves_room_for_the_legend():
    (axes,) = new_axes()
    axes.plot([0, 1], label="a line with a long name")
    legend_above(axes)
    heading(axes, "a long title " * 30, "a long note " * 30)
    title, note = (text.get_window_extent() for text in axes.texts)
    legend = axes.get_legend()
    assert legend is not None
    assert title.x1 <= axes.get_window_extent().x1
    assert note.x1 < legend.get_window_extent().x0


def test_a_users_text_is_one_line_and_no_tex():
    assert one_line("costs\n $5 and  more", 12) == r"costs \$5 an…"
