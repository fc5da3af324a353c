"""What position is decoded from in benchmarks/recordings.py, fitted on a fold's training time."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from sklearn.decomposition import PCA, FactorAnalysis
from torch import Tensor

from positions.folds import ALL, PAST, Features, Fold, averaged, state_dim
from predictive.calibration import fit_interval
from predictive.data.sequences import Sequences
from predictive.decoding.intervals import coverage, decode_with_interval
from predictive.estimator.fitting import train_in_memory
from predictive.filtered import filter_sequences, smooth_sequences

# Widths that averages are tried at, s: time constants of exponentials, σ of Gaussians.
WIDTHS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
FILTER, SMOOTHER = "our filter's state", "our smoother's state"
# The demonstrations of CEBRA on hippocampus have an offset of 10 bins of 25 ms.
_OFFSET_SECONDS = 0.25
CEBRA = {
    "model_architecture": "offset10-model",
    "batch_size": 512,
    "learning_rate": 3e-4,
    "temperature": 1.0,
    "distance": "cosine",
    "conditional": "time",
}
_FEWEST_BINS = 10  # that CEBRA's network takes
_PLACES = 40  # bins of place in each dimension

Note = Callable[[str, Any], None]  # takes what a record says besides scores


def averages(fold: Fold) -> Iterator[Features]:
    """Yield the inputs and their averages, of counts also the square roots of these."""
    started = time.perf_counter()
    single = fold.averages(1e-3 * fold.data.train.step_seconds, PAST)  # the bin itself
    train, held_out = (one.sqrt() if fold.counts else one for one in single)
    took = time.perf_counter() - started
    yield Features(fold.data.kind, PAST, 0.0, train, held_out, took)
    for when, name in ((PAST, "exponential mean"), (ALL, "Gaussian mean")):
        for width in WIDTHS:
            started = time.perf_counter()
            train, held_out = fold.averages(width, when)
            took = time.perf_counter() - started
            yield Features(name, when, width, train, held_out, took)
            if fold.counts:
                row = f"root of {name}"
                yield Features(row, when, width, train.sqrt(), held_out.sqrt(), took)


def components(fold: Fold) -> Iterator[Features]:
    """Yield principal components and factors of averages, of counts of their square roots."""
    for when, name, build in (
        (PAST, "PCA of exponential mean", lambda x, dim: PCA(dim, random_state=0).fit(x)),
        (ALL, "PCA of Gaussian mean", lambda x, dim: PCA(dim, random_state=0).fit(x)),
        (ALL, "factor analysis of Gaussian mean", factors),
    ):
        for width in WIDTHS:
            started = time.perf_counter()
            train, held_out = (
                (one.sqrt() if fold.counts else one).numpy() for one in fold.averages(width, when)
            )
            model = build(train, min(state_dim(fold.cfg), train.shape[1]))
            first, second = (torch.from_numpy(model.transform(one)) for one in (train, held_out))
            yield Features(name, when, width, first, second, time.perf_counter() - started)


def factors(x: NDArray[Any], dim: int) -> FactorAnalysis:
    """Fit factor analysis to rows (M, F), which needs their mean and covariance alone.

    It is given 2 F rows of the same covariance in their place, a thousandth of the work.
    """
    mean = x.mean(axis=0)
    root = np.asarray(np.linalg.qr(x - mean, mode="r")) * math.sqrt(x.shape[1] / len(x))
    model = FactorAnalysis(dim, svd_method="lapack", tol=1e-6, max_iter=5000)
    model.fit(np.concatenate([root, -root]))
    model.mean_ = mean
    return model


def bayesian(fold: Fold) -> Iterator[Features]:
    """Yield the mean of p(place | average), cells independent given the place; uses positions.

    Counts are Poisson, see `place_posterior`; signals are Gaussian, with a variance each. The prior
    is the occupancy. An average stands for (Σ w)² / Σ w² bins.
    """
    y, _ = fold.targets
    known = y.isfinite().all(dim=1)
    y = y[known].double()
    low, high = y.amin(dim=0), y.amax(dim=0)
    cells = ((y - low) / (high - low).clamp_min(1e-12) * _PLACES).long().clamp(0, _PLACES - 1)
    _, place, occupancy = cells.unique(dim=0, return_inverse=True, return_counts=True)
    member = torch.nn.functional.one_hot(place).double()  # (M, P)
    centres = member.mT @ y / occupancy[:, None]
    step = fold.data.train.step_seconds
    single = fold.averages(1e-3 * step, PAST)[0][known].double()
    for when, effective in ((PAST, 2.0), (ALL, 2.0 * math.sqrt(math.pi))):
        for width in WIDTHS:
            started = time.perf_counter()
            train, held_out = (one.double() for one in fold.averages(width, when))
            train = train[known]
            if fold.counts:
                # One bin more of the usual rate keeps rates above zero.
                usual = single.mean(dim=0).clamp_min(1e-6)
                rates = (member.mT @ single + usual) / (occupancy[:, None] + 1.0)
                bins = max(1.0, effective * width / step)
                posterior = place_posterior(held_out, rates, bins, occupancy)
            else:
                means = member.mT @ train / occupancy[:, None]
                variance = (train - means[place]).square().mean(dim=0).clamp_min(1e-12)
                scaled, at = held_out / variance.sqrt(), means / variance.sqrt()
                log_p = -0.5 * torch.cdist(scaled, at).square()
                posterior = (log_p + occupancy.log()).softmax(dim=1)
            decoded = posterior @ centres
            took = time.perf_counter() - started
            yield Features("Bayesian decoder", when, width, train, decoded, took, True)


def place_posterior(average: Tensor, rates: Tensor, bins: float, occupancy: Tensor) -> Tensor:
    """Return p(place | average) of Poisson counts (M, P), as pynapple's `decode_bayes`.

    log p = n (ȳ · log λ(place) − Σ λ(place)) + log occupancy + constant

    Args:
        average: ȳ, counts a bin, (M, F).
        rates: λ, counts a bin at each place, (P, F).
        bins: n, that an average stands for.
        occupancy: (P,).

    Source:
        Zhang, Ginzburg, McNaughton & Sejnowski, J. Neurophysiol. 79 (1998) 1017.
    """
    log_p = bins * (average @ rates.log().mT - rates.sum(dim=1))
    return (log_p + occupancy.log()).softmax(dim=1)


def cebra(fold: Fold, note: Note) -> Iterator[Features]:
    """Yield the embedding of CEBRA-Time, as it is and averaged over all time.

    Its settings are those of its documentation for hippocampus, its dimension that of our state.
    Noted are its losses, means of the last two tenths of its iterations.
    """
    started = time.perf_counter()
    module: Any = importlib.import_module("cebra")
    step = fold.data.train.step_seconds
    model = module.CEBRA(
        **CEBRA,
        output_dimension=state_dim(fold.cfg),
        time_offsets=max(1, round(_OFFSET_SECONDS / step)),
        max_iterations=fold.iterations,
        device="cpu",
        verbose=False,
    )
    filled = [_without_gaps(one) for one in fold.parts]
    torch.manual_seed(fold.cfg.seed)
    np.random.seed(fold.cfg.seed)
    model.fit(filled[0][fold.data.train.mask].numpy())
    losses = model.state_dict_["loss"].double()
    tenth = max(1, len(losses) // 10)
    note("losses", [float(losses[-2 * tenth : -tenth].mean()), float(losses[-tenth:].mean())])
    embedded = []
    for part, inputs in zip(fold.parts, filled, strict=True):
        laid = torch.zeros(*inputs.shape[:2], state_dim(fold.cfg))
        for number, length in enumerate(part.lengths.tolist()):
            own = inputs[number, :length].numpy()
            missing = max(0, _FEWEST_BINS - length)
            own = np.pad(own, ((0, missing), (0, 0)), mode="edge")
            laid[number, :length] = torch.from_numpy(model.transform(own))[:length]
        embedded.append(Sequences(laid, part.lengths, {}, part.start_seconds, step))
    took = time.perf_counter() - started
    train, held_out = (one.inputs[one.mask] for one in embedded)
    yield Features("CEBRA-Time", ALL, 0.0, train, held_out, took)
    for width in WIDTHS:
        train, held_out = (averaged(one, width, ALL) for one in embedded)
        yield Features("CEBRA-Time", ALL, width, train, held_out, took)


def _without_gaps(sequences: Sequences) -> Tensor:
    """Return inputs (N, T, F) whose missing bins have an average of their neighbours."""
    inputs = sequences.inputs.clone()
    missing = sequences.mask & ~inputs.isfinite().all(dim=-1)
    if bool(missing.any()):
        laid = torch.zeros_like(inputs)
        near = averaged(sequences, 2.0 * sequences.step_seconds, ALL).float()
        laid[sequences.mask] = near.nan_to_num(0.0)
        inputs[missing] = laid[missing]
    return inputs


def ours(fold: Fold, note: Note) -> Iterator[Features]:
    """Yield the states of a method trained on the fold, and those of before its training.

    Noted are the share of held-out bins inside the filter's 95 % interval and how many they are.
    """
    started = time.perf_counter()
    cfg: Any = OmegaConf.create(OmegaConf.to_container(fold.cfg))
    run = train_in_memory(cfg, fold.data, None, False)
    for filters, smooths, state in (
        (FILTER, SMOOTHER, None),
        ("untrained filter's state", "untrained smoother's state", run.untrained),
    ):
        if state is not None:
            run.method.load_state_dict(state)
            started = time.perf_counter()
        train, held_out = (
            filter_sequences(run.method, one, run.hardware.device) for one in fold.parts
        )
        took = time.perf_counter() - started
        states = held_out.rows(held_out.states)
        yield Features(filters, PAST, 0.0, train.rows(train.states), states, took)
        if state is None:
            y, true = fold.targets
            found = fit_interval(train, y, "mlp", fold.cfg.seed)
            if found is not None:
                factor = held_out.state_factor
                rows = None if factor is None else held_out.rows(factor)
                ends = decode_with_interval(found[0], states, rows, found[1])
                inside = coverage(true, ends.low, ends.high)
                note("coverage", [inside.fraction, inside.num_bins])
        started = time.perf_counter()
        first, second = (
            torch.cat([one.mean[0] for one in smooth_sequences(run.method, part)]).float()
            for part in (train, held_out)
        )
        took += time.perf_counter() - started
        yield Features(smooths, ALL, 0.0, first, second, took)
