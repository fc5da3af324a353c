"""Methods ranked by their mean score over seeds, and which of them the seeds distinguish."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import t as student

from solo_ldm.commands.compare.runs import Result
from solo_ldm.evaluation.spectrum import Health, diagnose

CONFIDENCE = 0.95

# In a table, for what there is not.
NOTHING = "–"

# For results that do not record these of their latents; enough to detect a collapse.
_NUM_SAMPLES, _NUM_DIMS = 256, 16


@dataclass(frozen=True)
class Spread:
    """A score over seeds.

    Args:
        values: one for each seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation of the values; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Margin:
    """Difference between a method and the best, paired over the seeds that both have.

    Args:
        mean: of the score less the best's.
        half_width: of the 95 % interval of that mean; None of a single seed.
    """

    mean: float
    half_width: float | None

    @property
    def significant(self) -> bool | None:
        """Whether the interval excludes zero; None where there is none."""
        return None if self.half_width is None else abs(self.mean) > self.half_width


@dataclass(frozen=True)
class Standing:
    """The place of a method.

    Args:
        label: of the method.
        rank: from 1, equal means share one; None without a finished run and of a bound.
        scores: top-1 by protocol, 0 to 1; empty without a finished run.
        margin: to the best by the protocol that ranks; None of the best itself.
        collapsed: number of finished runs whose latents had collapsed or exploded.
        finished: results of the finished runs, by seed.
        failed: results of the others, by seed.
        is_bound: whether the method learns from labels: an upper bound, which is not ranked.
    """

    label: str
    rank: int | None
    scores: dict[str, Spread]
    margin: Margin | None
    collapsed: int
    finished: tuple[Result, ...]
    failed: tuple[Result, ...]
    is_bound: bool

    @property
    def effective_rank(self) -> float | None:
        """Mean effective rank of the latents; None where it was not measured."""
        return _mean(run.health.get("z_effective_rank") for run in self.finished)

    @property
    def seconds(self) -> float | None:
        """Mean training time of a run."""
        return _mean(run.results["seconds"] for run in self.finished)


def rank_methods(
    results: Mapping[str, Sequence[Result]],
    protocols: Sequence[str],
    rank_by: str,
    on_sphere: Mapping[str, bool] | None = None,
    from_labels: Collection[str] = (),
) -> list[Standing]:
    """Rank methods by the mean over seeds of a protocol's top-1; bounds and failed ones go last.

    Args:
        results: of every method, one for each seed, by label.
        protocols: in the order of the table.
        rank_by: the protocol that ranks.
        on_sphere: whether a method's latents have unit length, by label.
        from_labels: which methods learn from labels, besides supervised.
    """
    runs = {label: sorted(given, key=lambda run: run.seed) for label, given in results.items()}
    finished = {label: [run for run in given if run.finished] for label, given in runs.items()}
    scores = {
        label: {name: Spread(tuple(run.top1(name) for run in given)) for name in protocols}
        for label, given in finished.items()
        if given
    }
    supervised = {label for label in scores if finished[label][0].results["method"] == "supervised"}
    rated = [label for label in scores if label not in (*supervised, *from_labels)]
    ranked = sorted(rated, key=lambda label: -scores[label][rank_by].mean)
    means = {label: round(scores[label][rank_by].mean, 9) for label in ranked}
    standings = []
    bounds = [label for label in scores if label not in means]
    for label in [*ranked, *bounds, *(one for one in results if one not in scores)]:
        sphere = on_sphere is None or on_sphere[label]
        standings.append(
            Standing(
                label=label,
                rank=list(means.values()).index(means[label]) + 1 if label in means else None,
                scores=scores.get(label, {}),
                margin=margin_to(finished[ranked[0]], finished[label], rank_by)
                if label in ranked[1:]
                else None,
                collapsed=sum(_collapsed(run, sphere) for run in finished[label]),
                finished=tuple(finished[label]),
                failed=tuple(run for run in runs[label] if not run.finished),
                is_bound=label in bounds,
            )
        )
    return standings


def margin_to(best: Sequence[Result], runs: Sequence[Result], protocol: str) -> Margin | None:
    """Compare finished runs of a method with those of the best on the same seeds.

    With d_s the difference of the two scores at seed s, of n seeds,

        mean_s d_s  ±  t(n − 1) · sd_s(d_s) / √n

    where t is the quantile of Student's distribution for a two-sided 95 % interval. The standard
    deviation is at least the weight of one test image: scores are multiples of it, and a few seeds
    that happen to agree do not resolve a smaller spread.

    Returns:
        The margin; None where no seed is finished in both.
    """
    theirs = {run.seed: run.top1(protocol) for run in best}
    differences = [run.top1(protocol) - theirs[run.seed] for run in runs if run.seed in theirs]
    if not differences:
        return None
    return margin_of(differences, min(run.results["num_val_images"] for run in (*best, *runs)))


def margin_of(differences: Sequence[float], num_images: int) -> Margin:
    """Return the mean of differences with its interval; see `margin_to`.

    Args:
        differences: of scores, one or more.
        num_images: that were scored.
    """
    count, mean = len(differences), statistics.fmean(differences)
    if count == 1:
        return Margin(mean, None)
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
    spread = max(statistics.stdev(differences), 1 / num_images)
    return Margin(mean, quantile * spread / math.sqrt(count))


def untrained_spreads(standings: Sequence[Standing], protocol: str) -> dict[str, Spread]:
    """Return the score of each untrained network over seeds, the one of most runs first.

    Methods share it where they share network, data and seed; else it is their mean at each seed.
    """
    values: dict[str, dict[int, list[float]]] = {}
    for run in (run for standing in standings for run in standing.finished):
        value = run.untrained_top1(protocol)
        if value is not None:
            by_seed = values.setdefault(run.results["backbone"], {})
            by_seed.setdefault(run.seed, []).append(value)
    names = sorted(values, key=lambda name: -sum(map(len, values[name].values())))
    return {
        name: Spread(tuple(statistics.fmean(values[name][seed]) for seed in sorted(values[name])))
        for name in names
    }


def rank_text(standing: Standing) -> str:
    """Return a rank as text: "2=" where the seeds do not distinguish the method from the best."""
    if standing.rank is None:
        return NOTHING
    return f"{standing.rank}{'=' if is_equal(standing) else ''}"


def is_equal(standing: Standing) -> bool:
    """Whether the seeds do not distinguish a method from the best."""
    return standing.margin is not None and standing.margin.significant is False


def percent(value: float, half_width: float | None = None) -> str:
    """Return a share in percent, with the ± of an interval or a standard deviation."""
    text = f"{100 * value:.1f}"
    return text if half_width is None else f"{text} ± {100 * half_width:.1f}"


def spread_text(spread: Spread | None) -> str:
    """Return a mean ± standard deviation in percent."""
    return NOTHING if spread is None else percent(spread.mean, spread.deviation)


def margin_text(margin: Margin) -> str:
    """Return the difference to the best in percentage points, with its interval."""
    size = percent(abs(margin.mean), margin.half_width)
    sign = "" if size.startswith("0.0") else "+" if margin.mean > 0 else "−"
    return f"{sign}{size}"


def _collapsed(run: Result, sphere: bool) -> bool:
    """Whether the latents had collapsed or exploded at the end, by the measures of the run."""
    names = ("z_std", "z_std_min", "z_effective_rank", "z_mean_cosine")
    if not all(name in run.health for name in names):
        return False
    std, std_min, rank, cosine = (run.health[name] for name in names)
    dims = int(run.results.get("settings", {}).get("proj_output_dim") or _NUM_DIMS)
    health = Health(std, std_min, rank, cosine, _NUM_SAMPLES, dims)
    return diagnose(health, None, sphere) is not None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
