"""One page on a predictive run, composed of the panels that it has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from predictive.data.sequences import InputKind
from predictive.pictures.decoding import (
    DecodedPosition,
    draw_position,
    num_coordinates,
    sources,
)
from predictive.pictures.frames import FramePaths, draw_frames
from predictive.pictures.history import TrainingHistory, draw_history, parts
from predictive.pictures.latents import LatentTrajectory, draw_latents, num_dims
from predictive.pictures.layout import Panel, compose
from predictive.pictures.noise import NoiseRecovery, draw_noise, draw_noise_over_time
from predictive.pictures.scores import Score, draw_scores
from predictive.pictures.space import LatentSpace, colourings_of, draw_space
from solo_ldm.plotting.style import DOTS_PER_INCH, SIZE_INCHES, check_path, save


@dataclass(frozen=True, eq=False)
class PredictiveReport:
    """What a report shows; every part but title and kind may be absent.

    Args:
        title: what was trained, in a line.
        kind: "frames", "spikes" or "signals"; it decides on the layout.
        history: of the training.
        frames: with paths; shown for frames.
        latents: of one held-out sequence, over time; for spikes only where there is no position.
        noise: inferred and true.
        position: over time; for frames only where there are no frames to show.
        space: of the latents.
        scores: R² of decoders.
    """

    title: str
    kind: InputKind
    history: TrainingHistory = field(default_factory=TrainingHistory)
    frames: FramePaths | None = None
    latents: LatentTrajectory | None = None
    noise: NoiseRecovery | None = None
    position: DecodedPosition | None = None
    space: LatentSpace | None = None
    scores: Sequence[Score] = ()


# Names of panels in rows, with the share of the height that each row takes; "a/b" is b where the
# run has no a.
_LAYOUTS: dict[str, tuple[tuple[float, tuple[str, ...]], ...]] = {
    "frames": (
        (0.92, ("frames/position",)),
        (1.2, ("latents", "noise", "space")),
        (1.0, ("losses", "r2", "cosine", "affine", "scores")),
    ),
    "spikes": (
        (1.25, ("position/latents", "scores")),
        (1.0, ("space 1", "space 2", "losses", "r2", "cosine")),
    ),
    "signals": (
        (1.4, ("latents", "noise", "space")),
        (0.8, ("position", "noise over time")),
        (1.0, ("losses", "r2", "cosine", "affine", "scores")),
    ),
}
_MAX_PANELS = 4
# They are in the pictures of their own.
_FIRST_TO_GO = ("cosine", "r2")


def write_report(path: str | os.PathLike[str], data: PredictiveReport) -> Path:
    """Draw a report and write it as a PNG of 1600 x 1000 pixels, whole or not at all.

    Args:
        path: of the PNG; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png, an unknown kind or shapes that do
            not fit.
    """
    path = check_path(path)
    layout = _LAYOUTS.get(data.kind)
    if layout is None:
        raise ValueError(f"kind: expected one of {', '.join(_LAYOUTS)}, got {data.kind!r}")
    panels = _panels(data)
    rows = [[panels[name] for name in _fitting(names, panels)] for _, names in layout]
    heights = [share for share, _ in layout]
    figure = compose(rows, SIZE_INCHES, heights, data.title, DOTS_PER_INCH)
    return save(path, figure, data.title)


def _fitting(names: Sequence[str], panels: Mapping[str, Panel]) -> list[str]:
    """Return the names of panels that there are, without those that four leave no room for."""
    present = [n for name in names for n in [m for m in name.split("/") if m in panels][:1]]
    for name in _FIRST_TO_GO:
        if len(present) > _MAX_PANELS and name in present:
            present.remove(name)
    return present


def _panels(data: PredictiveReport) -> dict[str, Panel]:
    """Return a panel for each part that the run has."""
    found: dict[str, Panel] = {}
    history = data.history
    for part in parts(history):
        width = 0.7 if part == "affine" else 1.0
        found[part] = Panel(lambda axes, p=part: draw_history(axes[0], history, p), width)
    if (frames := data.frames) is not None:
        found["frames"] = Panel(lambda axes: draw_frames(axes[0], frames))
    if (latents := data.latents) is not None:
        stack = num_dims(latents, 2 if data.kind == "frames" else 3)
        found["latents"] = Panel(lambda axes: draw_latents(axes, latents, 100), 2.0, stack)
    if (noise := data.noise) is not None:
        found["noise"] = Panel(lambda axes: draw_noise(axes[0], noise))
        found["noise over time"] = Panel(lambda axes: draw_noise_over_time(axes[0], noise))
    if (position := data.position) is not None:
        stack = num_coordinates(position) if len(sources(position)) == 1 else 1
        found["position"] = Panel(
            lambda axes: draw_position(axes, position, max_bins=800, max_stretches=5), 2.6, stack
        )
    if (space := data.space) is not None:
        # Direction is the colouring that the report can't do without.
        colourings = colourings_of(space)
        chosen = colourings if len(colourings) < 3 else [colourings[0], colourings[-1]]
        for i, colouring in enumerate(chosen):
            panel = Panel(lambda axes, c=colouring: draw_space(axes[0], space, c))
            found[f"space {i + 1}"] = panel
        found["space"] = found["space 1"]
    if data.scores:
        found["scores"] = Panel(lambda axes: draw_scores(axes[0], data.scores))
    return found
