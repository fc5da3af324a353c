"""The space of the latents, coloured by what the model was never given."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from solo_ldm.plotting.arrays import Floats, Values, as_rows
from solo_ldm.plotting.embedding import colour_bar_above, principal_components
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.style import (
    BLUE,
    LIGHT,
    ORANGE,
    box,
    few_ticks,
    heading,
    one_line,
    write_instead,
)

# More hide each other.
MAX_POINTS = 5000
_PROJECTIONS = ((0, 1), (0, 2), (1, 2))


def space_rows(
    latents: Values,
    position: Values | None = None,
    direction: Values | None = None,
    name: str = "position",
    unit: str = "",
    compact: bool = False,
) -> Rows:
    """Show principal components of the latents of held-out bins, a row for each colouring.

    From three dimensions on, three projections stand beside each other.

    Args:
        latents: (N, T, D) or (T, D); NaN where padded.
        position: (N, T, k) or (T, k), NaN where unknown; the first two coordinates are shown.
        direction: −1 or 1, (N, T) or (T,); 0 or NaN where unknown, for example at rest.
        name: what the position is.
        unit: of the position, "" without one.
        compact: up to two colourings of the first projection, for a report.

    Returns:
        Rows of panels, which are named "space 1" and so on.

    Raises:
        ValueError: in one line, for shapes that do not fit.
    """
    z = as_rows("latents", latents, "dimensions")
    bins, num_dims = z[..., 0], z.shape[2]
    z = z.reshape(-1, num_dims)
    colourings: dict[str, Floats | None] = {}
    if position is not None:
        place = as_rows("position", position, "coordinates", like=("latents", bins))
        unit = f" ({one_line(unit, 12)})" if unit else ""
        for k in range(min(place.shape[2], 2)):
            which = f" {'xy'[k]}" if place.shape[2] > 1 else ""
            colourings[f"{one_line(name, 24)}{which}{unit}"] = place[..., k].ravel()
    first = next(iter(colourings.values()), None)
    if direction is not None:
        sign = as_rows("direction", direction, like=("latents", bins))
        colourings["direction"] = sign.ravel()
    known = np.flatnonzero(np.isfinite(z).all(axis=1))
    points, shares = principal_components(z[known], 3) if len(known) > 1 else (z[:0], z[:0])
    # Shuffled, or what comes last in time would hide the rest.
    order = np.random.default_rng(0).permutation(len(points))[:MAX_POINTS]
    points, chosen = points[order], known[order] if len(known) > 1 else known[:0]
    note = f"{len(points)} of {len(known)} bins" if len(points) < len(known) else ""
    note = note or f"all {len(known)} bins"

    def draw(axes: Axes, title: str, values: Floats | None, components: tuple[int, int]) -> None:
        if not len(points):
            write_instead(axes, "There are no finite latents to show.")
            return
        x, y = points[:, components[0]], points[:, components[1]]
        x_name, y_name = (f"PC {c + 1} ({shares[c]:.0%})" for c in components)
        if num_dims == 1 and first is not None:
            # A line has no plane: its other axis is the position.
            y, y_name = first[chosen], one_line(name, 24)
        else:
            # Distances are those of the space; the box stays as it is.
            axes.set_aspect("equal", adjustable="datalim")
        box(axes)
        few_ticks(axes, x=4, y=4)
        axes.margins(0.05)
        axes.set(xlabel=x_name, ylabel=y_name)
        dots = {"s": float(np.clip(24000 / len(points), 5, 24)), "linewidths": 0}
        if values is None:
            axes.scatter(x, y, color=BLUE, **dots)
            heading(axes, "Latents", note)
            return
        values = values[chosen]
        seen = np.isfinite(values) & ((values != 0) | (title != "direction"))
        axes.scatter(x[~seen], y[~seen], color=LIGHT, **dots)
        if title == "direction":
            # Both directions in one call, so that neither lies on top.
            colours = np.where(values[seen] < 0, BLUE, ORANGE)
            axes.scatter(x[seen], y[seen], c=colours.tolist(), **dots)
            _name_colours(axes, unknown=not seen.all())
        elif seen.any():
            drawn = axes.scatter(x[seen], y[seen], c=values[seen], cmap="viridis", **dots)
            colour_bar_above(axes, drawn)
        heading(axes, f"Latents by {title}", "" if title == "direction" else note)

    projections = _PROJECTIONS if num_dims > 2 and not compact else _PROJECTIONS[:1]
    found = list((colourings or {"none": None}).items())
    if compact and len(found) > 2:
        # The direction is the colouring that the report can't do without.
        found = [found[0], found[-1]]
    height = (4.0 if len(projections) == 1 else 3.0) + (0.7 if len(found) == 1 else 0.0)
    rows = [
        [
            Panel(
                f"space {number + 1}",
                lambda axes, t=title, v=values, p=components: draw(axes[0], t, v, p),
                height=height,
            )
            for components in projections
        ]
        for number, (title, values) in enumerate(found)
    ]
    # With one projection the colourings stand beside each other.
    return rows if len(projections) > 1 else [[panel for row in rows for panel in row]]


def _name_colours(axes: Axes, unknown: bool) -> None:
    names = {"direction −": BLUE, "direction +": ORANGE} | ({"unknown": LIGHT} if unknown else {})
    look = {"marker": "o", "linestyle": "", "markersize": 6}
    axes.legend(
        [Line2D([], [], color=colour, **look) for colour in names.values()], list(names), ncols=3,
        loc="lower left", bbox_to_anchor=(0.0, 1.0), borderpad=0.1, borderaxespad=0.25,
        handlelength=0.8, columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip
