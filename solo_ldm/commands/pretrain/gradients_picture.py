"""The picture of gradients.csv: which cells ask for the same step, and from when on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from solo_ldm.plotting.page import Panel, write_page
from solo_ldm.plotting.series import draw_series
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    INK,
    ORANGE,
    RED,
    box,
    heading,
    legend_above,
)

# As in the paper's figure: with respect to the network.
_RESPECT, _ENTROPY, _LOSS = "encoder", "entropy cosine", "loss cosine"
_COLOURS = (BLUE, ORANGE, COLOURS[4])
_SIGNED = LinearSegmentedColormap.from_list("red to blue", [RED, "white", BLUE])


class _Cosines(NamedTuple):
    """Cosines by quantity, epoch and the two names; the names and epochs that there are."""

    values: Mapping[tuple[str, int, frozenset[str]], float]
    names: list[str]
    epochs: list[int]

    def over_epochs(self, quantity: str, first: str, second: str) -> list[float]:
        pair = frozenset((first, second))
        return [self.values.get((quantity, epoch, pair), np.nan) for epoch in self.epochs]

    def matrix(self, quantity: str, epoch: int) -> np.ndarray:
        found = np.eye(len(self.names))
        for i, j in combinations(range(len(self.names)), 2):
            pair = frozenset((self.names[i], self.names[j]))
            found[i, j] = found[j, i] = self.values.get((quantity, epoch, pair), np.nan)
        return found


class _Line(NamedTuple):
    first: str
    second: str
    label: str
    look: dict[str, Any]


def write_gradients(
    path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], title: str, batch: str
) -> Path:
    """Draw the cosines between the gradients of cells over training and write them as a PNG.

    Lines over epochs: joint against marginal, of entropies and of whole losses, and estimators
    against each other. Matrices of all pairs: before training and after it.

    Args:
        path: of the PNG.
        rows: of `solo_ldm.run.gradient_rows.read_gradients`, of an image run.
        title: what was trained, in a line.
        batch: what it was compared on, in words.

    Raises:
        ValueError: in one line: there is nothing to draw.
    """
    kept = [row for row in rows if row["with_respect_to"] == _RESPECT and row["second"]]
    if not kept:
        raise ValueError("rows: expected cosines with respect to the encoder, got none")
    found = _Cosines(
        {
            (row["quantity"], row["epoch"], frozenset((row["first"], row["second"]))): row["value"]
            for row in kept
        },
        list(dict.fromkeys(row[key] for row in kept for key in ("first", "second"))),
        sorted({row["epoch"] for row in kept}),
    )
    estimators, overs = (
        list(dict.fromkeys(name.split()[part] for name in found.names)) for part in (0, 1)
    )
    by_over = [
        _Line(f"{one} {overs[0]}", f"{one} {overs[-1]}", one, {"color": colour})
        for one, colour in zip(estimators, _COLOURS, strict=False)
    ]
    between = [
        _Line(
            f"{one} {over}",
            f"{other} {over}",
            f"{one}, {other}" if over == overs[0] else "_",
            {"color": colour, "linestyle": dash},
        )
        for over, dash in zip(overs, ("-", "--"), strict=False)
        for (one, other), colour in zip(combinations(estimators, 2), _COLOURS, strict=False)
    ]

    def lines(quantity: str, shown: list[_Line], name: str, note: str) -> Panel:
        return Panel(name, lambda axes: _draw_lines(axes[0], found, quantity, shown, name, note))

    def matrix(quantity: str, epoch: int) -> Panel:
        return Panel(
            f"{quantity} {epoch}",
            lambda axes: _draw_matrix(axes[0], found, quantity, epoch),
            left=0.9,
            below=0.9,
        )

    panels = [
        [
            lines(_ENTROPY, by_over, "Entropies, joint and marginal", "of the same estimator"),
            lines(_ENTROPY, between, "Entropies, estimators", f"{overs[0]}; dashed: {overs[-1]}"),
            lines(_LOSS, by_over, "Whole losses, joint and marginal", "of the same estimator"),
        ],
        [matrix(_ENTROPY, epoch) for epoch in (found.epochs[0], found.epochs[-1])]
        + [matrix(_LOSS, found.epochs[-1])],
    ]
    note = f"cosines between gradients with respect to the encoder's parameters, on {batch}"
    return write_page(
        path, panels, title=title, note=note, width=16.0, height=11.0, dots_per_inch=100
    )


def _draw_lines(
    axes: Axes, found: _Cosines, quantity: str, lines: Sequence[_Line], title: str, note: str
) -> None:
    epochs, lowest = np.array(found.epochs, dtype=float), 0.0
    for line in lines:
        values = found.over_epochs(quantity, line.first, line.second)
        if draw_series(axes, epochs, values, label=line.label, **line.look):
            lowest = min(lowest, float(np.nanmin(values)))
    axes.axhline(0, color=INK, linewidth=1, linestyle=":")
    axes.set(xlabel="epochs done", ylabel="cosine similarity", ylim=(lowest - 0.05, 1.03))
    legend_above(axes)
    heading(axes, title, note)


def _draw_matrix(axes: Axes, found: _Cosines, quantity: str, epoch: int) -> None:
    values = found.matrix(quantity, epoch)
    axes.imshow(values, cmap=_SIGNED, vmin=-1, vmax=1, interpolation="nearest")
    box(axes)
    places = range(len(found.names))
    axes.set_xticks(places, found.names, rotation=45, ha="right", rotation_mode="anchor", size=9)
    axes.set_yticks(places, found.names, size=9)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.7 else INK
            axes.text(column, row, f"{value:.2f}".replace("-", "−"), ha="center", va="center",
                      size=9, color=colour)  # fmt: skip
    what = "Entropies" if quantity == _ENTROPY else "Whole losses"
    heading(axes, f"{what}, {epoch} epoch{'s' * (epoch != 1)} done")
