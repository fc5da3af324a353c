"""Methods ranked by their mean score over seeds, and what the seeds can tell apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

from solo_ldm.commands.compare.runs import Result
from solo_ldm.evaluation.spectrum import Health, diagnose

CONFIDENCE = 0.95

# Of latents whose number or dimension a run's results do not say; enough to see a collapse.
_NUM_SAMPLES, _NUM_DIMS = 256, 16


@dataclass(frozen=True)
class Spread:
    """A mean over seeds.

    Args:
        mean: of the values.
        deviation: their standard deviation (of a sample); None of a single value.
        values: one a seed.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Margin:
    """How far a method is from the best, paired over the seeds that both have.

    Args:
        mean: of the score less the best's.
        half_width: of the 95 % interval of that mean; None of a single seed.
    """

    mean: float
    half_width: float | None

    @property
    def told_apart(self) -> bool | None:
        """Whether the interval leaves out zero; None where there is none."""
        return None if self.half_width is None else abs(self.mean) > self.half_width


@dataclass(frozen=True)
class Standing:
    """A method's place.

    Args:
        label: of the method.
        rank: from 1, equal means share one; None without a finished run.
        scores: top-1 by protocol, 0 to 1; empty without a finished run.
        margin: to the best by the protocol that ranks; None of the best itself.
        effective_rank: of the latents; None where it was not measured.
        seconds: of training, of a run.
        collapsed: finished runs whose latents ended ill.
        finished: results of the finished runs, by seed.
        failed: results of the others, by seed.
    """

    label: str
    rank: int | None
    scores: dict[str, Spread]
    margin: Margin | None
    effective_rank: float | None
    seconds: float | None
    collapsed: int
    finished: tuple[Result, ...]
    failed: tuple[Result, ...]


def rank_methods(
    results: Mapping[str, Sequence[Result]],
    protocols: Sequence[str],
    rank_by: str,
    on_sphere: Mapping[str, bool] | None = None,
) -> list[Standing]:
    """Rank methods by the mean over seeds of a protocol's top-1; those without a score go last.

    Args:
        results: of every method, one a seed, by label.
        protocols: in the order of the table.
        rank_by: the protocol that ranks.
        on_sphere: whether a method's latents have unit length, by label.
    """
    scores = {label: _scores(runs, protocols) for label, runs in results.items()}
    ranked = [label for label in results if scores[label]]
    ranked.sort(key=lambda label: -scores[label][rank_by].mean)
    best = ranked[0] if ranked else None
    means = [round(scores[label][rank_by].mean, 9) for label in ranked]
    standings = []
    for label in [*ranked, *(one for one in results if one not in ranked)]:
        runs = sorted(results[label], key=lambda run: run.seed)
        finished = tuple(run for run in runs if run.results is not None)
        sphere = True if on_sphere is None else on_sphere[label]
        margin = None
        if label in ranked and best is not None and label != best:
            margin = margin_to(results[best], runs, rank_by)
        standings.append(
            Standing(
                label=label,
                rank=means.index(means[ranked.index(label)]) + 1 if label in ranked else None,
                scores=scores[label],
                margin=margin,
                effective_rank=_mean(_health(run, "z_effective_rank") for run in finished),
                seconds=_mean(_of(run)["seconds"] for run in finished),
                collapsed=sum(_is_ill(run, sphere) for run in finished),
                finished=finished,
                failed=tuple(run for run in runs if run.results is None),
            )
        )
    return standings


def spread_of(values: Sequence[float]) -> Spread:
    """Return the mean and the standard deviation of at least one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, tuple(values))


def margin_to(best: Sequence[Result], runs: Sequence[Result], protocol: str) -> Margin | None:
    """Compare a method with the best on the same seeds.

    With d_s the difference of the two scores at seed s, of n seeds,

        mean_s d_s  ±  t(n − 1) · sd_s(d_s) / √n

    where t is the quantile of Student's distribution for a two-sided 95 % interval. The standard
    deviation counts as at least one test image: scores come in steps of it, and a few seeds that
    happen to agree do not know the spread any finer.

    Returns:
        The margin; None where no seed is finished in both.
    """
    theirs = {run.seed: top1(run, protocol) for run in best if run.results is not None}
    ours = {run.seed: top1(run, protocol) for run in runs if run.results is not None}
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences:
        return None
    count = len(differences)
    if count == 1:
        return Margin(differences[0], None)
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
    step = 1 / min(_of(run)["num_val_images"] for run in (*best, *runs) if run.results is not None)
    error = max(statistics.stdev(differences), step) / math.sqrt(count)
    return Margin(statistics.fmean(differences), quantile * error)


def untrained_spreads(standings: Sequence[Standing], protocol: str) -> dict[str, Spread]:
    """Return the score of each untrained network over seeds, the one that most runs have first.

    Methods share it where they share network, data and seed; else it is their mean at each seed.
    """
    values: dict[str, dict[int, list[float]]] = {}
    for standing in standings:
        for run in standing.finished:
            value = _of(run)["results"][protocol].get("untrained_top1")
            if value is not None:
                by_seed = values.setdefault(_of(run)["backbone"], {})
                by_seed.setdefault(run.seed, []).append(value)
    names = sorted(values, key=lambda name: -sum(map(len, values[name].values())))
    return {
        name: spread_of([statistics.fmean(values[name][seed]) for seed in sorted(values[name])])
        for name in names
    }


def above_untrained(standing: Standing, protocol: str) -> tuple[int, int]:
    """Return in how many seeds a method is above its untrained network, and of how many."""
    scores = [_of(run)["results"][protocol] for run in standing.finished]
    known = [one for one in scores if one.get("untrained_top1") is not None]
    return sum(one["top1"] > one["untrained_top1"] for one in known), len(known)


def top1(run: Result, protocol: str) -> float:
    """Return the score of a finished run, 0 to 1."""
    return float(_of(run)["results"][protocol]["top1"])


def _scores(runs: Sequence[Result], protocols: Sequence[str]) -> dict[str, Spread]:
    finished = sorted((run for run in runs if run.results is not None), key=lambda run: run.seed)
    if not finished:
        return {}
    return {name: spread_of([top1(run, name) for run in finished]) for name in protocols}


def _of(run: Result) -> dict[str, Any]:
    if run.results is None:
        raise ValueError(f"{run.label}, seed {run.seed}: expected results of a finished run")
    return run.results


def _health(run: Result, name: str) -> float | None:
    return _of(run).get("health", {}).get(name)


def _is_ill(run: Result, sphere: bool) -> bool:
    """Whether the latents had collapsed or exploded at the end, by the measures of the run."""
    std, std_min = _health(run, "z_std"), _health(run, "z_std_min")
    rank, cosine = _health(run, "z_effective_rank"), _health(run, "z_mean_cosine")
    if std is None or std_min is None or rank is None or cosine is None:
        return False
    dims = _of(run).get("settings", {}).get("proj_output_dim") or _NUM_DIMS
    return (
        diagnose(Health(std, std_min, rank, cosine, _NUM_SAMPLES, int(dims)), None, sphere)
        is not None
    )


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
