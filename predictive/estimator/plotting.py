"""What an estimator shows: the panels of the command's report, for some bins."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from predictive.decoding.intervals import coverage
from predictive.estimator.decoding import r_squared
from predictive.estimator.reading.inputs import Given
from predictive.estimator.targets import read_targets, target_kind
from predictive.filtered import Filtered

if TYPE_CHECKING:
    from predictive.estimator.base import TrainedSSL


def plot(estimator: TrainedSSL, inputs: Given, y: Any, path: str | Path | None) -> Any:
    """Draw the report of some bins; see `LatentSSL.plot`."""
    if path is not None and Path(path).suffix.lower() != ".png":  # before it is drawn
        raise ValueError(f"path: expected a name that ends in .png, got {Path(path).name!r}")
    from predictive.pictures.report import report_rows, write_report
    from solo_ldm.plotting.page import REPORT, compose

    targets, decoder = None, estimator.decoder_
    if y is not None:
        kind = target_kind(estimator._param("target")) if decoder is None else decoder.target
        classes = None if decoder is None else decoder.classes
        targets = read_targets(y, inputs, kind, classes).columns
    found = estimator._filtered(inputs.sequences(targets))
    pictures = _pictures(estimator, found)
    title = f"{type(estimator).__name__}: {_chosen(estimator)}"
    if path is not None:
        return write_report(path, title, "signals", pictures)
    return compose(report_rows("signals", pictures), title, **REPORT)


def _chosen(estimator: TrainedSSL) -> str:
    chosen = estimator.chosen_
    shown = ("latent_dim", "input_transform", "history", "window", "max_epochs")
    return ", ".join(f"{key} {chosen[key]}" for key in shown)


def _pictures(estimator: TrainedSSL, found: Filtered) -> dict[str, Callable[..., Any]]:
    from predictive.pictures import Decoded, history_rows, position_rows, space_rows
    from predictive.pictures.trajectory import trajectory

    truth = found.sequences.targets.get("y")
    states = torch.where(found.known[..., None], found.states, math.nan)
    history = estimator.history_
    pictures: dict[str, Callable[..., Any]] = {
        "latents": trajectory(found),
        "space": partial(space_rows, states, truth, None, "y"),
    }
    if history:
        log_prob, entropy = (np.array(history[name]) for name in ("log_prob", "entropy"))
        stopped = estimator.method_.objective.entropy == "stop_gradient"
        weight = estimator.method_.objective.weight
        pictures["history"] = partial(
            history_rows,
            epochs=np.arange(1, len(log_prob) + 1),
            loss=() if stopped else -log_prob - weight * entropy,
            log_prob=log_prob,
            entropy=() if stopped else entropy,
        )
    if truth is None or estimator.decoder_ is None:
        return pictures
    decoder = estimator.decoder_
    rows, known = found.rows(found.states), found.rows(truth)
    mean = decoder.decoder.predict(rows)
    r2 = r_squared(decoder.target, known, mean)
    if decoder.target.name == "circular":
        mean = decoder.predict(rows)
        known = decoder.target.near(known, mean)
    ends: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
    covered = None
    if decoder.interval is not None:
        factor = None if found.state_factor is None else found.rows(found.state_factor)
        interval = decoder.bounds(rows, factor, 0.95)
        near = decoder.target.near(found.rows(truth), interval.mean)
        covered = coverage(near, interval.low, interval.high).fraction
        ends = found.spread(interval.low), found.spread(interval.high)
    decoded = Decoded(found.spread(mean), *ends, r2=r2, coverage=covered)
    seconds = found.sequences.seconds
    shown = found.spread(known)
    pictures["position"] = partial(position_rows, seconds, shown, decoded, None, "y", "")
    return pictures
