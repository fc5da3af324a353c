"""The tables of a comparison: table.md, ranked, and table.csv, a row a run."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solo_ldm.commands.compare.ranking import (
    NOTHING,
    Standing,
    margin_text,
    percent,
    rank_text,
    spread_text,
    untrained_spreads,
)
from solo_ldm.commands.compare.runs import Result, unlike

_DIFFERS, _COLLAPSED = "†", "‡"


@dataclass(frozen=True)
class Comparison:
    """The content of the tables and the picture.

    Args:
        name: of the comparison.
        protocols: in the order of the columns.
        rank_by: the protocol that ranks.
        seeds: as configured.
        standings: the methods in rank order.
        cells: the method's place on the grid or its headline, by label.
        configs: the configuration and the overrides of each method, by label.
        differences: between a method's budget and that of the others, by label.
        published: differences from a method's published recipe, by label; None without one.
    """

    name: str
    protocols: tuple[str, ...]
    rank_by: str
    seeds: tuple[int, ...]
    standings: tuple[Standing, ...]
    cells: Mapping[str, str]
    configs: Mapping[str, tuple[str, Sequence[str]]]
    differences: Mapping[str, str]
    published: Mapping[str, str | None]

    @property
    def finished(self) -> list[Result]:
        """The finished runs."""
        return [run for standing in self.standings for run in standing.finished]

    @property
    def failed(self) -> list[Result]:
        """The failed runs."""
        return [run for standing in self.standings for run in standing.failed]


def markdown(comparison: Comparison, picture: str) -> str:
    """Return table.md: the ranked table, its protocol, and all differences in configuration.

    Args:
        comparison: the content.
        picture: the name of the picture's file, beside table.md.
    """
    parts = [f"# {comparison.name}", "", *_table(comparison), "", _footnote(comparison), ""]
    if comparison.finished:
        parts += [f"![Top-1 of every run, in rank order]({picture})", ""]
    differences = [f"- **{label}**: {line}" for label, line in comparison.differences.items()]
    failed = [f"- **{label}**, {line}" for label, line in failures(comparison)]
    for title, lines in (
        (f"{_DIFFERS} Differences from the budget of the others", differences),
        ("Failed runs", failed),
    ):
        parts += [f"## {title}", "", *lines, ""] if lines else []
    parts += ["## Differences from the published recipes", ""]
    parts += ["Each as published → here.", "", *_published(comparison)]
    return "\n".join(parts) + "\n"


def csv_text(comparison: Comparison) -> str:
    """Return table.csv: a row for each run, scores from 0 to 1."""
    rows = [
        _csv_row(comparison, run)
        for standing in comparison.standings
        for run in sorted((*standing.finished, *standing.failed), key=lambda run: run.seed)
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def failures(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the label of each method with failed runs, and a line with their seeds and errors."""
    lines = []
    for standing in comparison.standings:
        seeds: dict[str, list[str]] = {}
        for run in standing.failed:
            seeds.setdefault(str(run.error), []).append(str(run.seed))
        for error, which in seeds.items():
            plural = "s" if len(which) > 1 else ""
            lines.append((standing.label, f"seed{plural} {', '.join(which)}: {error}"))
    return lines


def marks(comparison: Comparison, standing: Standing) -> str:
    """Return the marks that the notes below the table explain."""
    differs = _DIFFERS if standing.label in comparison.differences else ""
    return differs + (_COLLAPSED if standing.collapsed else "")


def _table(comparison: Comparison) -> list[str]:
    protocols = comparison.protocols
    heads = ["rank", "method", "what it is", "seeds", *protocols]
    heads += ["to the best", "effective rank", "seconds"]
    rows = [heads, ["---:", "---", "---", "---:", *["---"] * len(protocols), "---", "---:", "---:"]]
    for one in comparison.standings:
        name = f"{one.label} {marks(comparison, one)}".strip()
        if one.failed:
            got, asked = len(one.finished), len(one.finished) + len(one.failed)
            name += f" ({got} of {asked} seeds)" if got else " (failed)"
        best = NOTHING if one.rank is None else "the best"
        rank, seconds = one.effective_rank, one.seconds
        rows.append(
            [
                rank_text(one),
                name,
                comparison.cells[one.label],
                str(len(one.finished)),
                *(spread_text(one.scores.get(protocol)) for protocol in protocols),
                best if one.margin is None else margin_text(one.margin),
                NOTHING if rank is None else f"{rank:.1f}",
                NOTHING if seconds is None else f"{seconds:.0f}",
            ]
        )
    untrained = {one: untrained_spreads(comparison.standings, one) for one in protocols}
    networks = list(dict.fromkeys(name for found in untrained.values() for name in found))
    for network in networks:
        name = "untrained" if len(networks) == 1 else f"untrained {network}"
        spreads = [spread_text(untrained[protocol].get(network)) for protocol in protocols]
        rows.append(["", name, "", "", *spreads, "", "", ""])
    return [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |" for row in rows]


def _footnote(comparison: Comparison) -> str:
    """Return the protocol of the numbers, their uncertainty and their provenance."""
    runs, rank_by = comparison.finished, comparison.rank_by
    if not runs:
        return "No run finished."

    def agree(*keys: str) -> str:
        return agreed(runs, lambda run: " ".join(str(run[key]) for key in keys))

    images = agreed(
        runs,
        lambda run: (
            f"{run['num_val_images']} "
            + (run.get("scored_on") or f"held-out images of {run['dataset']}")
        ),
    )
    counts = {len(one.finished) for one in comparison.standings if one.finished}
    over = f"mean ± standard deviation over {max(counts)} seeds"
    if counts == {1}:
        which = " and ".join(dict.fromkeys(str(run.seed) for run in runs))
        over = f"of one seed ({which}), which says nothing about the spread over seeds"
    elif len(counts) > 1:
        over = "mean ± standard deviation over as many seeds as are given, of one without ±"
    sentences = [f"Top-1 in percent on the {images}, {over}; ranked by {rank_by}."]
    if max(counts) > 1:
        sentences.append(
            f"To the best: the mean difference in {rank_by}, in points, paired over the seeds, "
            "with its 95 % interval (Student's t; the spread is at least one test image). = after "
            "a rank: the interval contains 0, the seeds do not distinguish the method from the "
            "best. There is no correction for multiple comparisons."
        )
    bounds = [one.label for one in comparison.standings if one.is_bound]
    if bounds:
        sentences.append(f"Learning from labels, an upper bound, not ranked: {', '.join(bounds)}.")
    intervals = [run.results["results"][rank_by]["interval"] for run in runs]
    width = statistics.fmean((high - low) / 2 for low, high in intervals)
    same = "Every seed is scored on the same test images"
    if len({run.data for run in comparison.finished}) > 1:
        same = "Not all runs are known to be on the same data"
    sentences += [
        f"{same}; the uncertainty from the number of test images comes in addition: "
        f"± {percent(width)} for a single run (95 %).",
        *(f"Runs differ in {line}." for line in unlike(comparison.finished)),
        "Effective rank is that of the latents. Seconds are of training alone; parallel runs share "
        "the cores.",
        *(_above(comparison, protocol) for protocol in comparison.protocols),
    ]
    collapsed = ", ".join(
        f"{one.label} in {one.collapsed} of {len(one.finished)}"
        for one in comparison.standings
        if one.collapsed
    )
    sentences.append(
        f"{_COLLAPSED} Latents collapsed or exploded: {collapsed} runs."
        if collapsed
        else "No run's latents collapsed or exploded."
    )
    versions = {
        name: agreed(runs, lambda run, name=name: run["versions"][name])
        for name in ("solo_ldm", "torch")
    }
    made = [
        agree("backbone"),
        f"{agree('epochs')} epochs",
        f"batch {agree('batch_size')}",
        agreed(runs, lambda run: f"{run['num_train_images']} training images"),
        agree("precision"),
        agree("hardware"),
        f"data by {agree('data_backend')}",
        *(f"{name} {version}" for name, version in versions.items()),
        _commits(runs),
        agreed(runs, lambda run: run["finished"][:10]),
    ]
    return f"{' '.join(filter(None, sentences))}\n\nMade with {', '.join(made)}."


def _above(comparison: Comparison, protocol: str) -> str:
    """Return which runs are not above the untrained network; nothing where it was not scored."""
    total, below = 0, []
    for one in comparison.standings:
        scores = [(run.top1(protocol), run.untrained_top1(protocol)) for run in one.finished]
        known = [(trained, base) for trained, base in scores if base is not None]
        better = sum(trained > base for trained, base in known)
        total += len(known)
        below += [f"{one.label} ({better} of {len(known)})"] if better < len(known) else []
    if not total:
        return ""
    apart = f", except {', '.join(below)}" if below else ""
    return f"Each of {total} runs is above its untrained network by {protocol}{apart}."


def _published(comparison: Comparison) -> list[str]:
    """Return a line for each recipe; methods with the same line share it."""
    without = "no published recipe in its configuration"
    lines: dict[str, list[str]] = {}
    for label in comparison.published:
        lines.setdefault(comparison.published[label] or without, []).append(label)
    return [f"- **{'; '.join(labels)}**: {line}" for line, labels in lines.items()]


def _csv_row(comparison: Comparison, run: Result) -> dict[str, Any]:
    config, overrides = comparison.configs[run.label]
    content = run.results
    row: dict[str, Any] = {
        "label": run.label,
        "config": config,
        "overrides": " ".join(overrides),
        "what_it_is": comparison.cells[run.label],
    }
    for key in ("method", "latent", "entropy", "over", "predictor", "target"):
        row[key] = content.get(key)
    row |= {"seed": run.seed, "status": "finished" if run.finished else "failed"}
    for protocol in comparison.protocols:
        score = content.get("results", {}).get(protocol, {})
        row[protocol] = score.get("top1")
        row[f"{protocol} untrained"] = score.get("untrained_top1")
        row[f"{protocol} ece"] = score.get("ece")
    for key in ("z_effective_rank", "feats_effective_rank", "z_std", "z_mean_cosine"):
        row[key] = run.health.get(key)
    for key in (
        "seconds", "images_per_second", "epochs", "batch_size", "backbone", "dataset", "hardware",
        "commit", "finished",
    ):  # fmt: skip
        row[key] = content.get(key)
    return row | {"path": run.path, "error": run.error}


def agreed(runs: Sequence[Result], what: Callable[[Any], Any]) -> str:
    """Return a property that all runs share, or its different values.

    Args:
        runs: finished ones.
        what: takes the content of a results.json.
    """
    return " and ".join(dict.fromkeys(str(what(run.results)) for run in runs))


def _commits(runs: Sequence[Result]) -> str:
    """Return the commits of runs; of more than three the first and the last in time."""
    by_time = sorted(runs, key=lambda run: run.results["finished"])
    every = list(dict.fromkeys(_short(run.results["commit"]) for run in by_time))
    if len(every) > 3:
        return f"{len(every)} commits from {every[0]} to {every[-1]}"
    return "commit " + " and ".join(every)


def _short(commit: str | None) -> str:
    digest, plus, rest = (commit or "unknown").partition("+")
    return f"{digest[:10]}{plus}{rest}"
