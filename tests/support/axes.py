"""Panels drawn without a page, and what is on them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from solo_ldm.plotting.page import Panel, Rows


def new_axes(count: int = 1) -> list[Axes]:
    figure = Figure(figsize=(12, 8))
    FigureCanvasAgg(figure)
    return [figure.add_subplot(count, 1, i + 1) for i in range(count)]


def drawn(rows: Rows, name: str) -> list[Axes]:
    """Draw the first panel of a name."""
    panel = next(panel for row in rows for panel in row if panel.name == name)
    assert isinstance(panel, Panel)
    axes = new_axes(panel.stack)
    panel.draw(axes)
    return axes


def line(axes: Axes, label: str) -> np.ndarray:
    (found,) = (artist for artist in axes.lines if artist.get_label() == label)
    return np.asarray(found.get_xydata(), dtype=float)


def texts(axes: Axes) -> str:
    return " | ".join(text.get_text() for text in axes.texts)
