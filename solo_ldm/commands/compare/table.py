"""The tables of a comparison: table.md, ranked, and table.csv, a row a run."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solo_ldm.commands.compare.ranking import (
    Margin,
    Spread,
    Standing,
    above_untrained,
    untrained_spreads,
)
from solo_ldm.commands.compare.runs import Result

_NOTHING = "–"
_DIFFERS, _COLLAPSED = "†", "‡"


@dataclass(frozen=True)
class Comparison:
    """What the tables and the picture show.

    Args:
        name: of the comparison.
        protocols: in the order of the columns.
        rank_by: the protocol that ranks.
        seeds: that were asked for.
        standings: the methods in rank order.
        cells: the method's place on the grid or its headline, by label.
        configs: the configuration and the overrides of each method, by label.
        differences: in what a method's budget is not that of the others, by label.
        published: what a method's published recipe has otherwise, by label; None without one.
    """

    name: str
    protocols: tuple[str, ...]
    rank_by: str
    seeds: tuple[int, ...]
    standings: tuple[Standing, ...]
    cells: Mapping[str, str]
    configs: Mapping[str, tuple[str, tuple[str, ...]]]
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
    """Return table.md: the ranked table, what it rests on, and what differs.

    Args:
        comparison: what to write.
        picture: the name of the picture's file, beside table.md.
    """
    name = comparison.name
    parts = [f"# {name}", "", *_table(comparison), "", _footnote(comparison), ""]
    if comparison.finished:
        parts += [f"![Top-1 of every run, in rank order]({picture})", ""]
    if comparison.differences:
        parts += [f"## {_DIFFERS} What differs from the budget of the others", ""]
        parts += [f"- **{label}**: {line}" for label, line in comparison.differences.items()]
        parts += [""]
    if comparison.failed:
        parts += ["## Failed runs", ""]
        parts += [f"- **{label}**, {line}" for label, line in failures(comparison)]
        parts += [""]
    parts += ["## What differs from the published recipes", ""]
    parts += ["Each as published → here.", "", *_published(comparison)]
    return "\n".join(parts) + "\n"


def csv_text(comparison: Comparison) -> str:
    """Return table.csv: a row a run, shares from 0 to 1, for others to analyse."""
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
    """Return the label of each method with failed runs, and a line that says which and why."""
    lines = []
    for standing in comparison.standings:
        seeds: dict[str, list[str]] = {}
        for run in standing.failed:
            seeds.setdefault(str(run.error), []).append(str(run.seed))
        for error, which in seeds.items():
            plural = "s" if len(which) > 1 else ""
            lines.append((standing.label, f"seed{plural} {', '.join(which)}: {error}"))
    return lines


def rank_text(standing: Standing) -> str:
    """Write a rank: "2=" where the seeds do not tell the method from the best."""
    if standing.rank is None:
        return _NOTHING
    apart = standing.margin is None or standing.margin.told_apart is not False
    return f"{standing.rank}{'' if apart else '='}"


def spread_text(spread: Spread | None, factor: float = 100.0) -> str:
    """Write a mean ± standard deviation, by default in percent."""
    if spread is None:
        return _NOTHING
    deviation = "" if spread.deviation is None else f" ± {factor * spread.deviation:.1f}"
    return f"{factor * spread.mean:.1f}{deviation}"


def margin_text(margin: Margin | None) -> str:
    """Write the difference to the best in percentage points, with its interval."""
    if margin is None:
        return _NOTHING
    # No negative zero.
    mean = f"{100 * margin.mean:+.1f}".replace("-", "−")
    mean = "0.0" if mean in ("+0.0", "−0.0") else mean
    return mean if margin.half_width is None else f"{mean} ± {100 * margin.half_width:.1f}"


def marks(comparison: Comparison, standing: Standing) -> str:
    """Return the signs that the notes below the table explain."""
    differs = _DIFFERS if standing.label in comparison.differences else ""
    return differs + (_COLLAPSED if standing.collapsed else "")


def _table(comparison: Comparison) -> list[str]:
    protocols = comparison.protocols
    heads = ["rank", "method", "what it is", *protocols, "to the best", "effective rank", "seconds"]
    rows = [heads, ["---:", "---", "---", *["---"] * len(protocols), "---", "---:", "---:"]]
    for one in comparison.standings:
        mark = marks(comparison, one)
        asked, got = len(one.finished) + len(one.failed), len(one.finished)
        name = f"{one.label} {mark}".strip()
        if one.failed:
            name += f" ({got} of {asked} seeds)" if got else " (failed)"
        rank = _NOTHING if one.effective_rank is None else f"{one.effective_rank:.1f}"
        seconds = _NOTHING if one.seconds is None else f"{one.seconds:.0f}"
        best = "the best" if one.rank is not None and one.margin is None else None
        rows.append(
            [
                rank_text(one),
                name,
                comparison.cells[one.label],
                *(spread_text(one.scores.get(protocol)) for protocol in protocols),
                best or margin_text(one.margin),
                rank,
                seconds,
            ]
        )
    untrained = {one: untrained_spreads(comparison.standings, one) for one in protocols}
    networks = list(dict.fromkeys(name for found in untrained.values() for name in found))
    for network in networks:
        name = "untrained" if len(networks) == 1 else f"untrained {network}"
        spreads = [spread_text(untrained[protocol].get(network)) for protocol in protocols]
        rows.append(["", name, "", *spreads, "", "", ""])
    return [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]


def _footnote(comparison: Comparison) -> str:
    """Say what the numbers are, how far they can be trusted and where they come from."""
    runs = comparison.finished
    if not runs:
        return "No run finished."
    several = len(comparison.seeds) > 1
    images = agreed(
        runs, lambda run: f"{run['num_val_images']} held-out images of {run['dataset']}"
    )
    over = (
        f"mean ± standard deviation over {len(comparison.seeds)} seeds"
        if several
        else f"of one seed ({comparison.seeds[0]}), which says nothing of the spread over seeds"
    )
    rank_by = comparison.rank_by
    sentences = [f"Top-1 in percent on the {images}, {over}; ranked by {rank_by}."]
    if several:
        sentences.append(
            f"To the best: the mean difference in {rank_by}, in points, paired over the seeds, "
            "with its 95 % interval (Student's t; a spread of at least one test image). = after a "
            "rank: the interval holds 0, the seeds do not tell the method from the best. There is "
            "no correction for comparing many."
        )
    widths = [(high - low) / 2 for low, high in (_interval(run, rank_by) for run in runs)]
    sentences.append(
        "Every seed is scored on the same test images; what another draw of them would change "
        f"comes on top: ± {100 * statistics.fmean(widths):.1f} for a single run (95 %)."
    )
    sentences.append(
        "Effective rank is that of the latents. Seconds are of training alone; runs at a time "
        "share the cores."
    )
    sentences += [_above(comparison, protocol) for protocol in comparison.protocols]
    ill = [one for one in comparison.standings if one.collapsed]
    if ill:
        counts = ", ".join(f"{one.label} in {one.collapsed} of {len(one.finished)}" for one in ill)
        sentences.append(f"{_COLLAPSED} Latents collapsed or exploded: {counts} runs.")
    else:
        sentences.append("No run's latents collapsed or exploded.")
    made = [
        agreed(runs, lambda run: run["backbone"]),
        agreed(runs, lambda run: str(run["epochs"])) + " epochs",
        "batch " + agreed(runs, lambda run: str(run["batch_size"])),
        agreed(runs, lambda run: f"{run['num_train_images']} training images"),
        agreed(runs, lambda run: run["precision"]),
        agreed(runs, lambda run: run["hardware"]),
        "data by " + agreed(runs, lambda run: run["data_backend"]),
        "solo_ldm " + agreed(runs, lambda run: run["versions"]["solo_ldm"]),
        "torch " + agreed(runs, lambda run: run["versions"]["torch"]),
        "commit " + agreed(runs, lambda run: _short(run["commit"])),
        agreed(runs, lambda run: run["finished"][:10]),
    ]
    return f"{' '.join(filter(None, sentences))}\n\nMade with {', '.join(made)}."


def _above(comparison: Comparison, protocol: str) -> str:
    """Say which runs are not above the untrained network; nothing where it was not scored."""
    counts = {one.label: above_untrained(one, protocol) for one in comparison.standings}
    total = sum(known for _, known in counts.values())
    if not total:
        return ""
    below = [f"{label} ({got} of {known})" for label, (got, known) in counts.items() if got < known]
    apart = f", but for {', '.join(below)}" if below else ""
    return f"Each of {total} runs is above its untrained network by {protocol}{apart}."


def _published(comparison: Comparison) -> list[str]:
    """Write a line a recipe; methods whose lines are the same share one."""
    without = "no published recipe in its configuration"
    lines: dict[str, list[str]] = {}
    for label in comparison.published:
        lines.setdefault(comparison.published[label] or without, []).append(label)
    return [f"- **{'; '.join(labels)}**: {line}" for line, labels in lines.items()]


def _csv_row(comparison: Comparison, run: Result) -> dict[str, Any]:
    config, overrides = comparison.configs[run.label]
    content: Mapping[str, Any] = run.results or {}
    row: dict[str, Any] = {
        "label": run.label,
        "config": config,
        "overrides": " ".join(overrides),
        "what_it_is": comparison.cells[run.label],
    }
    for key in ("method", "latent", "entropy", "over", "predictor", "target"):
        row[key] = content.get(key)
    row |= {"seed": run.seed, "status": "finished" if run.results is not None else "failed"}
    for protocol in comparison.protocols:
        score = content.get("results", {}).get(protocol, {})
        row[protocol] = score.get("top1")
        row[f"{protocol} untrained"] = score.get("untrained_top1")
        row[f"{protocol} ece"] = score.get("ece")
    health = content.get("health", {})
    for key in ("z_effective_rank", "feats_effective_rank", "z_std", "z_mean_cosine"):
        row[key] = health.get(key)
    for key in ("seconds", "images_per_second", "epochs", "batch_size", "backbone", "dataset"):
        row[key] = content.get(key)
    for key in ("hardware", "commit", "finished"):
        row[key] = content.get(key)
    return row | {"path": run.path, "error": run.error}


def agreed(runs: Sequence[Result], what: Callable[[Any], str]) -> str:
    """Return what all runs say of themselves, or all that they say.

    Args:
        runs: finished ones.
        what: takes the content of a results.json.
    """
    return " and ".join(dict.fromkeys(str(what(run.results)) for run in runs))


def _interval(run: Result, protocol: str) -> tuple[float, float]:
    low, high = (run.results or {})["results"][protocol]["interval"]
    return low, high


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    digest, plus, rest = commit.partition("+")
    return f"{digest[:10]}{plus}{rest}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
