"""What the latents of a run encode: decoding, intervals, identifiability, inferred noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from predictive.calibration import EVERY, LEVEL, calibration_bins, fit_interval
from predictive.data.sequences import Sequences, TimeSeriesData
from predictive.data.targets import TargetKind
from predictive.decoding.bins import FEWEST_BINS
from predictive.decoding.identifiability import Identifiability, identifiability
from predictive.decoding.intervals import (
    Coverage,
    DecodedInterval,
    coverage,
    fewest_calibration_bins,
)
from predictive.decoding.intervals import decode_with_interval as with_interval
from predictive.decoding.score import DecodingScore, decode
from predictive.features import features_of
from predictive.filtered import Filtered, filter_sequences
from predictive.method import PredictiveMethod

# Targets that describe the observation rather than what the latents encode.
_NOT_DECODED = ("noise_variance", "jump", "direction", "speed", "phase_position")
NOISE = "noise_variance"

# Decoders are fitted on at most this many bins; more do not change their R².
_MOST_BINS = 60_000


@dataclass(frozen=True, eq=False)
class DecodedTarget:
    """A target decoded from the latent state with its interval.

    Args:
        interval: decoded mean and ends of the 95 % interval of the held-out bins, (M, k).
        coverage: share of the held-out bins inside.
        kind: of the decoder.
    """

    interval: DecodedInterval
    coverage: Coverage
    kind: str


@dataclass(frozen=True, eq=False)
class Assessment:
    """All that was measured of a trained method.

    Args:
        train: filtered training sequences, as many as the decoders were fitted on.
        held_out: filtered held-out sequences.
        scores: of decoders on held-out bins, by target.
        intervals: of the targets.
        before: identifiability of the untrained encoder's latents.
        after: of the trained one's.
        noise_correlation: between inferred and true noise variance, over held-out bins.
    """

    train: Filtered
    held_out: Filtered
    scores: dict[str, list[DecodingScore]]
    intervals: dict[str, DecodedTarget] = field(default_factory=dict)
    before: Identifiability | None = None
    after: Identifiability | None = None
    noise_correlation: float | None = None


def targets_to_decode(cfg: DictConfig, data: TimeSeriesData) -> list[str]:
    """Return the names of the targets to decode: those configured, or all of the latent causes."""
    if cfg.evaluation.targets is not None:
        return list(cfg.evaluation.targets)
    return [name for name in data.train.targets if name not in _NOT_DECODED]


def check_targets(cfg: DictConfig, data: TimeSeriesData) -> None:
    """Check that the data has the targets that are to be evaluated.

    Raises:
        ValueError: a configured target that the data lacks, or knows in too few bins to decode,
            or too few sequences to identify one.
    """
    known, identify = list(data.train.targets), cfg.evaluation.identify
    wanted = [("targets", name) for name in targets_to_decode(cfg, data)]
    if identify is not None:
        wanted.append(("identify", identify))
    for key, name in wanted:
        if name not in known:
            raise ValueError(
                f"evaluation.{key}: expected targets of the data ({', '.join(known) or 'none'}), "
                f"got {name}"
            )
    for name in targets_to_decode(cfg, data):
        for part, sequences, fewest in (
            ("training", data.train, FEWEST_BINS),
            ("held-out", data.held_out, 1),
        ):
            count = int(_known(sequences, name)[sequences.mask].sum())
            if count < fewest:
                raise ValueError(
                    f"data: expected at least {fewest} {part} bins with a known {name}, got "
                    f"{count}; use a longer recording, fewer folds, or leave it out of "
                    "evaluation.targets"
                )
    if identify is not None and len(data.held_out) < 2:
        raise ValueError(
            "evaluation.identify: expected at least 2 held-out sequences, some to fit on and some "
            f"to score on, got {len(data.held_out)}"
        )


def unidentifiable(cfg: DictConfig, data: TimeSeriesData) -> list[str]:
    """Return a line if there are fewer latents than coordinates of the target to identify."""
    name, latents = cfg.evaluation.identify, cfg.predictor.latent_dim
    count = 0 if name is None else data.train.targets[name].shape[2]
    if count <= latents:
        return []
    return [
        f"predictor.latent_dim={latents}: {name}, which is to be identified, has {count} "
        f"coordinates, and no map of fewer latents gives them all; set predictor.latent_dim={count}"
        " for a score that tells"
    ]


def check_calibration(cfg: DictConfig, data: TimeSeriesData) -> None:
    """Raise a one-line ValueError if a target has too few bins for an interval to be calibrated."""
    train = for_decoders(data.train)
    for name in targets_to_decode(cfg, data):
        known = _known(train, name)[train.mask]
        count = int(known[calibration_bins(_numbers(train), len(train))].sum())
        fewest = fewest_calibration_bins(LEVEL)
        if count < fewest:
            raise ValueError(
                f"data.folds: expected at least {fewest} calibration bins with a known {name} for "
                f"the interval, a {EVERY}th of the training bins, got {count}; use fewer folds or "
                "a longer recording"
            )


def _known(sequences: Sequences, target: str) -> Tensor:
    return torch.isfinite(sequences.targets[target]).all(dim=-1)


def _numbers(sequences: Sequences) -> Tensor:
    """Return the number of its sequence for each bin, as `Filtered.groups` does."""
    return torch.arange(len(sequences)).repeat_interleave(sequences.lengths)


def assess(
    cfg: DictConfig,
    method: PredictiveMethod,
    untrained: dict[str, Tensor],
    data: TimeSeriesData,
    device: torch.device,
    progress: Callable[[str], Any] = lambda what: None,
) -> Assessment:
    """Measure a trained method on held-out sequences.

    Args:
        cfg: the completed configuration.
        method: trained.
        untrained: its state before training.
        data: the data set.
        device: what to compute on.
        progress: called with what is being computed.
    """
    progress("latents")
    train = filter_sequences(method, for_decoders(data.train), device)
    held_out = filter_sequences(method, data.held_out, device)
    scores, intervals = {}, {}
    trained = {key: value.clone() for key, value in method.state_dict().items()}
    method.load_state_dict(untrained)
    first = [filter_sequences(method, part.sequences, device) for part in (train, held_out)]
    method.load_state_dict(trained)
    fitted_on, scored_on = (features_of(part, data, cfg) for part in (train, held_out))
    for found, part in zip((fitted_on, scored_on), first, strict=True):
        found["untrained state"] = part.rows(part.states)
    features = {name: (fitted_on[name], scored_on[name]) for name in fitted_on}
    for name in targets_to_decode(cfg, data):
        progress(f"decoding {name}")
        pair = (
            train.rows(train.sequences.targets[name]),
            held_out.rows(data.held_out.targets[name]),
        )
        kind = data.kinds.get(name, TargetKind())
        decoders = tuple(cfg.evaluation.kinds)
        scores[name] = decode(features, pair, decoders, train.groups(), seed=cfg.seed, target=kind)
        progress(f"interval of {name}")
        interval = _interval(name, kind, train, held_out, cfg)
        if interval is not None:
            intervals[name] = interval
    before = after = None
    if cfg.evaluation.identify is not None:
        progress("identifiability")
        before, after = (_identify(part, cfg.evaluation.identify) for part in (first[1], held_out))
    return Assessment(
        train, held_out, scores, intervals, before, after, noise_correlation(held_out)
    )


def noise_correlation(filtered: Filtered) -> float | None:
    """Return Pearson's correlation of inferred and true noise variance; None where undefined.

    The inferred variance is the mean over latent dimensions.
    """
    inferred, targets = filtered.observation_noise, filtered.sequences.targets
    if inferred is None or NOISE not in targets or inferred.shape[1] == 1:
        return None
    pair = torch.stack(
        [filtered.rows(inferred).mean(dim=1).double(), filtered.rows(targets[NOISE])[:, 0].double()]
    )
    if bool((pair.std(dim=1) == 0.0).any()):
        return None
    return float(torch.corrcoef(pair)[0, 1])


def _interval(
    name: str, target: TargetKind, train: Filtered, held_out: Filtered, cfg: DictConfig
) -> DecodedTarget | None:
    """Decode a target from the latent state with an interval, calibrated on training bins.

    None where the calibration set is too small.
    """
    kind = "mlp" if "mlp" in cfg.evaluation.kinds else "linear"
    columns = train.rows(train.sequences.targets[name])
    found = fit_interval(train, columns, kind, cfg.seed, target)
    if found is None:
        return None
    factor = None if held_out.state_factor is None else held_out.rows(held_out.state_factor)
    states = held_out.rows(held_out.states)
    interval = with_interval(found[0], states, factor, found[1], LEVEL, target=target)
    truth = target.near(held_out.rows(held_out.sequences.targets[name]), interval.mean)
    return DecodedTarget(interval, coverage(truth, interval.low, interval.high), kind)


def _identify(filtered: Filtered, target: str) -> Identifiability:
    """Fit maps between latents and true latents on half of the sequences, score on the others."""
    latents = filtered.rows(filtered.latents)
    true = filtered.rows(filtered.sequences.targets[target])
    first = filtered.groups() < len(filtered.sequences) // 2
    return identifiability(latents[first], true[first], latents[~first], true[~first])


def for_decoders(sequences: Sequences) -> Sequences:
    """Return sequences, evenly spaced in the set, as many as decoders are fitted to."""
    total = int(sequences.lengths.sum())
    if total <= _MOST_BINS:
        return sequences
    count = max(2, len(sequences) * _MOST_BINS // total)
    return sequences.select(torch.linspace(0, len(sequences) - 1, count).long())
