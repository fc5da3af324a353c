"""The picture of benchmarks/recordings.py."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from positions.folds import PAST
from positions.tables import OURS, Line, lines, ordered
from solo_ldm.plotting.page import new_figure, save
from solo_ldm.plotting.style import BLUE, INK, LIGHT, MUTED, ORANGE, name_rows, styled


@styled
def draw(results: Sequence[Mapping[str, Any]], names: Mapping[str, str], path: Path) -> None:
    """Draw 1 − R² of every row, a dot for each fold and seed, for both decoders."""
    found = lines(results, names)
    ranks: dict[tuple[str, str], list[float]] = {}
    for own in found.values():
        order = ordered(own)
        for place, key in enumerate(order):
            ranks.setdefault(key, []).append(place / len(order))
    keys = sorted(ranks, key=lambda key: (key[1] != PAST, statistics.mean(ranks[key])))
    title = "What of position stays unexplained"
    width, height = 3.4 + 3.3 * len(found), 1.9 + 0.34 * len(keys)
    figure = new_figure(width, height, 110, title)
    for number, (name, own) in enumerate(found.items()):
        left = (3.3 + 3.3 * number) / width
        axes = figure.add_axes((left, 0.62 / height, 3.0 / width, 1.0 - 1.77 / height))
        _draw_rows(axes, keys, own)
        if number:
            axes.tick_params(labelleft=False)
        axes.set_title(names[name])
        axes.set_xlabel("1 − R² on held-out time")
    figure.text(0.02, 1.0 - 0.35 / height, title, size=15, weight="bold", color=INK)
    note = (
        "hollow: linear decoder, filled: multi-layer; points: folds and seeds, strokes: all folds "
        "together\norange: ours; grey: uses positions"
    )
    figure.text(0.02, 1.0 - 0.76 / height, note, size=10, color=MUTED)
    save(path, figure)


def _draw_rows(
    axes: Axes, keys: Sequence[tuple[str, str]], own: Mapping[tuple[str, str, str], Line]
) -> None:
    """Draw the rows of a data set, each at the place of its key."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    for place, key in enumerate(keys):
        for decoder, offset in (("linear", -0.17), ("mlp", 0.17)):
            line = own.get((*key, decoder))
            if line is None or (line.supervised and decoder == "linear"):
                continue
            offset = 0.0 if line.supervised else offset
            colour = ORANGE if key[0] in OURS.values() else MUTED if line.supervised else BLUE
            values = [1.0 - r2 for r2 in line.fold_r2]
            face = "white" if decoder == "linear" else colour
            at = [place + offset] * len(values)
            axes.scatter(values, at, s=16, facecolor=face, edgecolor=colour, lw=0.9, alpha=0.8)
            pooled, middle = 1.0 - statistics.mean(line.r2), place + offset
            axes.plot([pooled] * 2, [middle - 0.15, middle + 0.15], color=INK, lw=1.4)
    name_rows(axes, [f"{row} ({time})" for row, time in keys])
    axes.axhline(sum(time == PAST for _, time in keys) - 0.5, color=LIGHT, lw=0.8)
