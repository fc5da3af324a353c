"""One page on a predictive run, composed of the panels that it has."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from solo_ldm.plotting.page import REPORT, Panel, Rows, write_page

# Names of panels in rows, with the share of the height that each row takes; "a/b" is b where the
# run has no a.
_LAYOUTS: dict[str, tuple[tuple[float, tuple[str, ...]], ...]] = {
    "frames": (
        (0.92, ("frames/position",)),
        (1.2, ("latents", "noise", "space 1")),
        (1.0, ("losses", "r2", "cosine", "affine", "scores")),
    ),
    "spikes": (
        (1.25, ("position/latents", "scores")),
        (1.0, ("space 1", "space 2", "losses", "r2", "cosine")),
    ),
    "signals": (
        (1.4, ("latents", "noise", "space 1")),
        (0.8, ("position", "noise over time")),
        (1.0, ("losses", "r2", "cosine", "affine", "scores")),
    ),
}
_MAX_PANELS = 4
# The first to go where there are more; pictures of their own have them.
_LEAST_NEEDED = ("cosine", "r2")


def write_report(
    path: str | os.PathLike[str], title: str, kind: str, pictures: Mapping[str, Callable[..., Rows]]
) -> Path:
    """Draw a report and write it as a PNG of 1600 x 1000 pixels, whole or not at all.

    Args:
        path: of the PNG; its folder is made.
        title: what was trained, in a line.
        kind: "frames", "spikes" or "signals"; it decides on the layout.
        pictures: `frame_rows` and its like with their data, by name; each is called with
            compact=True.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png, an unknown kind or shapes that do
            not fit.
    """
    return write_page(path, report_rows(kind, pictures), title=title, **REPORT)


def report_rows(kind: str, pictures: Mapping[str, Callable[..., Rows]]) -> Rows:
    """Return the panels of a report; see `write_report`."""
    if kind not in _LAYOUTS:
        raise ValueError(f"kind: expected one of {', '.join(_LAYOUTS)}, got {kind!r}")
    panels = {
        panel.name: panel
        for picture in pictures.values()
        for row in picture(compact=True)
        for panel in row
    }
    return [
        [panels[name]._replace(height=share) for name in _choose(names, panels)]
        for share, names in _LAYOUTS[kind]
    ]


def _choose(names: Sequence[str], panels: Mapping[str, Panel]) -> list[str]:
    """Return the names of panels that there are, at most four."""
    present = [n for name in names for n in [m for m in name.split("/") if m in panels][:1]]
    for name in _LEAST_NEEDED:
        if len(present) > _MAX_PANELS and name in present:
            present.remove(name)
    return present
