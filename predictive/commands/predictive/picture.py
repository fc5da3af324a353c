"""The pictures of a predictive run, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from predictive.data.sequences import TimeSeriesData, as_floats
from predictive.data.targets import TargetKind
from predictive.decoding.score import DecodingScore
from predictive.evaluation import NOISE, Assessment
from predictive.features import LATENT_STATE
from predictive.filtered import Filtered
from predictive.pictures import (
    Decoded,
    frame_rows,
    history_rows,
    noise_rows,
    position_rows,
    score_rows,
    space_rows,
    write_report,
)
from predictive.pictures.trajectory import trajectory
from predictive.training import PredictiveRun
from solo_ldm.plotting.page import Rows, write_page
from solo_ldm.plotting.scores import Bar

# A picture with its data; compact=True is for a report.
_Picture = Callable[..., Rows]


def write_pictures(run: PredictiveRun, assessment: Assessment) -> None:
    """Write every picture that the run has something for, and report.png."""
    bars = [
        score_bar(score, target if len(assessment.scores) > 1 else "")
        for target, scores in assessment.scores.items()
        for score in scores
    ]
    found = {
        "frames": _frames(run, assessment),
        "latents": trajectory(assessment.held_out),
        "noise": _noise(assessment),
        "position": _position(run.data, assessment),
        "space": _space(run.data, assessment.held_out),
        "scores": partial(score_rows, bars) if bars else None,
        "history": _history(run, assessment),
    }
    pictures = {name: picture for name, picture in found.items() if picture is not None}
    for name, picture in pictures.items():
        write_page(run.folder.path / f"{name}.png", picture(), f"{name} of a predictive run")
    write_report(run.folder.report, _title(run), run.data.kind, pictures)


def _history(run: PredictiveRun, assessment: Assessment) -> _Picture:
    metrics = run.metrics
    online = {name: metrics.column(f"val_{name}_r2") for name in run.cfg.decoders}
    rows = [] if run.cosines is None else run.cosines.rows
    before, after = assessment.before, assessment.after
    log_prob, entropy = (
        np.array(metrics.column(f"train_{key}")) for key in ("log_prob", "entropy")
    )
    # The logged loss is of a sequence, its terms are of a step; those of stop-gradient are one.
    stop_gradient = run.cfg.objective.entropy == "stop_gradient"
    weight = run.cfg.objective.get("weight", 1.0)
    return partial(
        history_rows,
        epochs=[epoch + 1 for epoch in sorted(metrics.rows)],
        loss=() if stop_gradient else -log_prob - weight * entropy,
        log_prob=log_prob,
        entropy=() if stop_gradient else entropy,
        r2={name: values for name, values in online.items() if values},
        cosine_steps=[row["step"] for row in rows],
        cosine=[row["joint"] for row in rows],
        affine_r2=(before.to_true.r2, after.to_true.r2) if before and after else None,
    )


def score_bar(score: DecodingScore, target: str = "") -> Bar:
    """Return a decoder's score as a bar; the null is drawn from its mean to its high end."""
    name = f"{target}: {score.features}" if target else score.features
    null = (score.null_mean, score.null_high)
    return Bar(name, score.kind, score.r2, score.r2_per_fold, null)


def _title(run: PredictiveRun) -> str:
    cfg = run.cfg
    over = "" if cfg.objective.entropy == "stop_gradient" else f", {cfg.objective.over}"
    return f"{cfg.method}, {cfg.objective.entropy} entropy{over}: {run.data.description}"


def _best(scores: list[DecodingScore], features: str) -> DecodingScore | None:
    of_features = [score for score in scores if score.features == features]
    return max(of_features, key=lambda score: score.r2, default=None)


def _frames(run: PredictiveRun, assessment: Assessment) -> _Picture | None:
    data, held_out = run.data, assessment.held_out
    if data.frame_shape is None:
        return None
    sequences = held_out.sequences
    # Of a colour the mean of its channels is shown.
    frames = as_floats(sequences.inputs).unflatten(2, data.frame_shape).mean(dim=2)
    frames[~held_out.known] = math.nan
    rendering = run.cfg.data.get("rendering", "plain")
    scores = assessment.scores.get("position")
    best = None if scores is None else _best(scores, LATENT_STATE)
    return partial(
        frame_rows,
        frames,
        true=sequences.targets.get("position"),
        decoded=None if best is None else held_out.spread(best.predictions),
        r2=None if best is None else best.r2,
        seconds=sequences.seconds,
        swirled=rendering != "plain",
    )


def _noise(assessment: Assessment) -> _Picture | None:
    held_out, correlation = assessment.held_out, assessment.noise_correlation
    if correlation is None or held_out.observation_noise is None:
        return None
    samples, steps = held_out.known.shape
    inferred = held_out.observation_noise.mean(dim=2).expand(samples, steps)
    unknown = ~held_out.known
    return partial(
        noise_rows,
        inferred.masked_fill(unknown, math.nan),
        held_out.sequences.targets[NOISE][..., 0].masked_fill(unknown, math.nan),
        held_out.sequences.seconds,
        correlation,
    )


def _position(data: TimeSeriesData, assessment: Assessment) -> _Picture | None:
    """The first decoded target over time, with its interval."""
    if not assessment.intervals:
        return None
    name, decoded = next(iter(assessment.intervals.items()))
    held_out = assessment.held_out
    interval, kind = decoded.interval, data.kinds.get(name, TargetKind())
    true = kind.near(held_out.rows(held_out.sequences.targets[name]), interval.mean)
    score = _best(assessment.scores[name], LATENT_STATE)
    latent = Decoded(
        held_out.spread(interval.mean),
        held_out.spread(interval.low),
        held_out.spread(interval.high),
        r2=None if score is None else score.r2,
        coverage=decoded.coverage.fraction,
    )
    observed = _best(assessment.scores[name], data.kind)
    direct = None
    if observed is not None:
        near = kind.near(observed.predictions, interval.mean)
        direct = Decoded(held_out.spread(near), r2=observed.r2)
    return partial(
        position_rows,
        held_out.sequences.seconds,
        held_out.spread(true),
        latent,
        direct,
        name.replace("_", " "),
        data.units.get(name, ""),
    )


def _space(data: TimeSeriesData, held_out: Filtered) -> _Picture | None:
    targets = held_out.sequences.targets
    place = next((name for name in ("position", "sources") if name in targets), None)
    if place is None:
        return None
    direction = targets.get("direction")
    latents = held_out.states if data.kind == "spikes" else held_out.latents
    return partial(
        space_rows,
        _hidden(latents, held_out),
        _hidden(targets[place], held_out),
        None if direction is None else _hidden(direction, held_out)[..., 0],
        place,
        data.units.get(place, ""),
    )


def _hidden(values: Tensor, held_out: Filtered) -> Tensor:
    """Return values with NaN where there is no bin."""
    return torch.where(held_out.known[..., None], values, math.nan)
