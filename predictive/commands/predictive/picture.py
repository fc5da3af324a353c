"""The pictures of a predictive run, from what was measured."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from predictive.data.sequences import TimeSeriesData
from predictive.decoding.score import DecodingScore
from predictive.evaluation import LATENT_STATE, NOISE, SPIKES, Assessment
from predictive.filtered import Filtered
from predictive.pictures import (
    Decoded,
    DecodedPosition,
    FramePaths,
    LatentSpace,
    LatentTrajectory,
    NoiseRecovery,
    PredictiveReport,
    Score,
    TrainingHistory,
    write_frames,
    write_history,
    write_latents,
    write_noise,
    write_position,
    write_report,
    write_scores,
    write_space,
)
from predictive.training import PredictiveRun


def write_pictures(run: PredictiveRun, assessment: Assessment) -> None:
    """Write every picture that the run has something for, and report.png."""
    folder, data, held_out = run.folder.path, run.data, assessment.held_out
    report = PredictiveReport(
        title=_title(run),
        kind=data.kind,
        history=history_of(run, assessment),
        frames=_frames(run, assessment),
        latents=_trajectory(run, held_out),
        noise=_noise(assessment),
        position=_position(data, assessment),
        space=_space(data, held_out),
        scores=[
            score_bar(score, target if len(assessment.scores) > 1 else "")
            for target, scores in assessment.scores.items()
            for score in scores
        ],
    )
    if report.frames is not None:
        write_frames(folder / "frames.png", report.frames)
    if report.latents is not None:
        write_latents(folder / "latents.png", report.latents)
    if report.noise is not None:
        write_noise(folder / "noise.png", report.noise)
    if report.position is not None:
        write_position(folder / "position.png", report.position)
    if report.space is not None:
        write_space(folder / "space.png", report.space)
    if report.scores:
        write_scores(folder / "scores.png", report.scores)
    write_history(folder / "history.png", report.history)
    write_report(run.folder.report, report)


def history_of(run: PredictiveRun, assessment: Assessment) -> TrainingHistory:
    """Return the history of training for its picture."""
    metrics = run.metrics
    online = {name: metrics.column(f"val_{name}_r2") for name in run.cfg.decoders}
    rows = [] if run.cosines is None else run.cosines.rows
    before, after = assessment.before, assessment.after
    return TrainingHistory(
        epochs=[epoch + 1 for epoch in sorted(metrics.rows)],
        loss=metrics.column("train_ldm_loss"),
        log_prob=metrics.column("train_log_prob"),
        entropy=metrics.column("train_entropy"),
        r2={name: values for name, values in online.items() if values},
        cosine_steps=[row["step"] for row in rows],
        cosine=[row["marginal"] for row in rows],
        affine_r2=(before.to_true.r2, after.to_true.r2) if before and after else None,
    )


def score_bar(score: DecodingScore, target: str = "") -> Score:
    """Return a decoder's score as a bar; the null is drawn from its mean to its high end."""
    name = f"{target}: {score.features}" if target else score.features
    null = (score.null_mean, score.null_high)
    return Score(name, score.kind, score.r2, score.r2_per_fold, null)


def _title(run: PredictiveRun) -> str:
    cfg = run.cfg
    over = "" if cfg.objective.entropy == "stop_gradient" else f", {cfg.objective.over}"
    return f"{cfg.method}, {cfg.objective.entropy} entropy{over}: {run.data.description}"


def _best(scores: list[DecodingScore], features: str) -> DecodingScore | None:
    of_features = [score for score in scores if score.features == features]
    return max(of_features, key=lambda score: score.r2, default=None)


def _frames(run: PredictiveRun, assessment: Assessment) -> FramePaths | None:
    data, held_out = run.data, assessment.held_out
    if data.frame_shape is None:
        return None
    sequences = held_out.sequences
    frames = sequences.inputs.reshape(*sequences.inputs.shape[:2], *data.frame_shape).clone()
    frames[~held_out.known] = math.nan
    rendering = run.cfg.data.get("rendering", "plain")
    scores = assessment.scores.get("position")
    best = None if scores is None else _best(scores, LATENT_STATE)
    return FramePaths(
        frames,
        true=sequences.targets.get("position"),
        decoded=None if best is None else held_out.spread(best.predictions),
        r2=None if best is None else best.r2,
        seconds=sequences.seconds,
        swirled=rendering != "plain",
    )


def _trajectory(run: PredictiveRun, held_out: Filtered) -> LatentTrajectory | None:
    """The longest held-out sequence: latents, what was predicted of them, and the state."""
    which = int(held_out.sequences.lengths.argmax())
    length = int(held_out.sequences.lengths[which])
    filtered_mean = filtered_variance = None
    if held_out.state_factor is not None:
        shown = min(held_out.latents.shape[2], held_out.states.shape[2])
        factor = held_out.state_factor
        factor = factor[which if len(factor) > 1 else 0, :length]
        filtered_mean = held_out.states[which, :length, :shown]
        filtered_variance = factor.square().sum(dim=-1)[:, :shown]
    dims = slice(None) if filtered_mean is None else slice(filtered_mean.shape[1])
    return LatentTrajectory(
        held_out.sequences.seconds[which, :length],
        held_out.latents[which, :length, dims],
        held_out.predicted_mean[which, :length, dims],
        held_out.predicted_variance[which, :length, dims],
        filtered_mean,
        filtered_variance,
    )


def _noise(assessment: Assessment) -> NoiseRecovery | None:
    held_out, correlation = assessment.held_out, assessment.noise_correlation
    if correlation is None or held_out.observation_noise is None:
        return None
    samples, steps = held_out.known.shape
    inferred = held_out.observation_noise.mean(dim=2).expand(samples, steps)
    unknown = ~held_out.known
    return NoiseRecovery(
        inferred.masked_fill(unknown, math.nan),
        held_out.sequences.targets[NOISE][..., 0].masked_fill(unknown, math.nan),
        held_out.sequences.seconds,
        correlation,
    )


def _position(data: TimeSeriesData, assessment: Assessment) -> DecodedPosition | None:
    """The first decoded target over time, with its interval."""
    if not assessment.intervals:
        return None
    name, decoded = next(iter(assessment.intervals.items()))
    held_out = assessment.held_out
    interval = decoded.interval
    score = _best(assessment.scores[name], LATENT_STATE)
    latent = Decoded(
        held_out.spread(interval.mean),
        held_out.spread(interval.low),
        held_out.spread(interval.high),
        r2=None if score is None else score.r2,
        coverage=decoded.coverage.fraction,
    )
    spikes = _best(assessment.scores[name], SPIKES)
    direct = None
    if spikes is not None:
        direct = Decoded(held_out.spread(spikes.predictions), r2=spikes.r2)
    return DecodedPosition(
        held_out.sequences.seconds,
        _hidden(held_out.sequences.targets[name], held_out),
        latent,
        direct,
        name.replace("_", " "),
        data.units.get(name, ""),
    )


def _space(data: TimeSeriesData, held_out: Filtered) -> LatentSpace | None:
    targets = held_out.sequences.targets
    place = next((name for name in ("position", "sources") if name in targets), None)
    direction = targets.get("direction")
    if place is None:
        return None
    latents = held_out.states if data.kind == "spikes" else held_out.latents
    space = LatentSpace(
        _hidden(latents, held_out),
        position=_hidden(targets[place], held_out),
        position_name=place,
        unit=data.units.get(place, ""),
    )
    if direction is None:
        return space
    return replace(space, direction=_hidden(direction, held_out)[..., 0])


def _hidden(values: Tensor, held_out: Filtered) -> Tensor:
    """Return values with NaN where there is no bin."""
    return torch.where(held_out.known[..., None], values, math.nan)
