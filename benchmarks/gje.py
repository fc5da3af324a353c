"""Train Gaussian joint embeddings and SimCLR on digits and write what their uncertainty is worth.

    python benchmarks/gje.py [--seeds 5] [--jobs 2] [--write] [key=value ...]

Finished runs of the same configuration, and their evaluations, are not repeated: after an
interruption the command continues. --write puts the table into docs/methods.md.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ROOT, Figures, configuration, parser, publish, spread, wide_console
from rich.console import Console
from rich.progress import track

from solo_ldm.commands.compare.runs import Result, Run, find_result
from solo_ldm.commands.compare.waiting import Waiting
from solo_ldm.commands.compare.workers import train_all
from solo_ldm.commands.uncertainty import uncertainty
from solo_ldm.run.configuration import complete
from solo_ldm.run.folder import RunFolder

METHODS = ("gje", "gje_moving_average", "gje_entropy", "simclr")
# Of the 90 % intervals and ellipsoids.
LEVEL = 0.9


def assess(result: Result, num_images: int) -> dict[str, Any] | None:
    """Return the uncertainty of a run, assessed unless it was; None where it predicts none."""
    if result.path is None:
        raise SystemExit(f"{result.label}, seed {result.seed}: {result.error}")
    if result.results["latent"] != "conditional":
        return None
    kept, made_from = (
        Path(result.path, "evaluation", "uncertainty", "results.json"),
        RunFolder(Path(result.path)).results,
    )
    if kept.exists() and kept.stat().st_mtime >= made_from.stat().st_mtime:
        return json.loads(kept.read_text())
    own = [f"pretrained_feature_extractor={result.path}", f"num_images={num_images}"]
    cfg = configuration("uncertainty", own)
    return uncertainty(cfg, Console(quiet=True)).results


def scores(result: Result, found: dict[str, Any] | None) -> dict[str, float]:
    """Return the numbers of a run by the columns of the table."""
    linear, near = (result.results["results"][name] for name in ("linear-features", "knn-20"))
    numbers: dict[str, float] = {}
    if found is not None:
        fit = found["calibration"]
        place = fit["levels"].index(LEVEL)
        numbers = {
            "variance": found["certainty"]["variance"]["median"],
            "strength": found["strength"]["rank_correlation"],
            "within an image": found["strength"]["within_image"],
            "inverted": found["outside"]["inverted"]["entropy"],
            "intervals": fit["intervals"][place],
            "ellipsoids": fit["ellipsoids"][place],
            "nats": fit["negative_log_likelihood"] - fit["constant_negative_log_likelihood"],
        }
    return numbers | {
        "ece": linear["ece"],
        "knn-20": near["top1"],
        "knn-20 gain": near["top1"] - near["untrained_top1"],
        "linear-features": linear["top1"],
        "linear-features gain": linear["top1"] - linear["untrained_top1"],
        "rank": result.results["health"]["feats_effective_rank"],
    }


def cell(runs: list[dict[str, float]], column: str, digits: int, factor: float = 1.0) -> str:
    """Return a cell of the table: over the runs of a method, or nothing where they have none."""
    values = [factor * run[column] for run in runs if column in run]
    return spread(values, digits) if values else "–"


def gained(runs: list[dict[str, float]], column: str) -> str:
    """Return a score in percent, and of how many runs it is above that of the untrained network."""
    above = sum(run[f"{column} gain"] > 0 for run in runs)
    return f"{cell(runs, column, 1, 100)} ({above} of {len(runs)})"


def table(found: dict[str, list[dict[str, float]]], one: dict[str, Any], draws: str) -> Figures:
    """Return the table."""
    columns = ["strength", "within an image", "inverted", "intervals", "ellipsoids", "nats"]
    heads = ["config", "variance", *columns, "ECE", "knn-20", "linear-features", "rank"]
    rows = [
        [
            name,
            cell(runs, "variance", 3),
            *(cell(runs, column, 2) for column in columns),
            cell(runs, "ece", 3),
            *(gained(runs, column) for column in ("knn-20", "linear-features")),
            cell(runs, "rank", 1),
        ]
        for name, runs in found.items()
    ]
    versions = one["versions"]
    about = (
        f"On the {one['num_val_images']} held-out digits, mean ± standard deviation over "
        f"{len(next(iter(found.values())))} seeds; {one['backbone']}, {one['epochs']} epochs, "
        f"batch {one['batch_size']}, {one['hardware']}, solo_ldm {versions['solo_ldm']}, "
        f"torch {versions['torch']}, {one['finished'][:10]}. Variance: the median over "
        "images of what is predicted. Strength: rank correlation of the "
        f"predicted variance with the strength of the augmentations{draws}, over all images and "
        "within one. "
        "Inverted: AUROC of the predicted entropy, inverted digits against digits. Intervals, "
        f"ellipsoids: share of pairs of views within those of {LEVEL:.0%}. Nats: likelihood a "
        "dimension, less that of one covariance for all images (negative is better). ECE: "
        "calibration error of linear-features. Scores are in percent, with the number of seeds "
        "that are above untrained. Rank: effective rank of the features."
    )
    return Figures(heads, rows, about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, assess, print the table and, with --write, update the docs."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--presets", nargs="+", default=METHODS, choices=METHODS)
    options.add_argument("--num-images", type=int, default=2000, help="held out, to assess")
    options.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    options.add_argument("--write", action="store_true", help="update docs/methods.md")
    options.add_argument("overrides", nargs="*", help="key=value, for every run")
    args = options.parse_args(arguments)
    console = wide_console()
    fixed = ["checkpoint.dir=trained_models/gje", "evaluation.report=false"]
    fixed += ["evaluation.protocols=[knn-20,linear-features]"]
    if args.jobs > 1:
        # The cores are taken; and loaders would start their workers by spawning, seconds each.
        fixed.append("data.num_workers=0")
    runs = [
        Run(name, seed, complete(configuration(name, [*fixed, *args.overrides, f"seed={seed}"])))
        for seed in range(args.seeds)
        for name in args.presets
    ]
    done = [result for result in map(find_result, runs) if result is not None]
    there = {(result.label, result.seed) for result in done}
    waiting = [run for run in runs if (run.label, run.seed) not in there]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in args.presets}
    one, draws = None, ""
    results = itertools.chain(done, train_all(Waiting(waiting), args.jobs))
    for result in track(results, "runs", total=len(runs), console=console):
        predicted = assess(result, args.num_images)
        found[result.label].append(scores(result, predicted))
        one = one or result.results
        if predicted is not None:
            strengths = predicted["strength"]["strengths"]
            draws = (
                f" ({min(strengths):g} to {max(strengths):g} times that of the training, "
                f"{predicted['num_draws']} draws)"
            )
    assert one is not None, "there is at least one run"
    figures = table(found, one, draws)
    publish([figures], ROOT / "docs" / "methods.md", "gje", "gje.py", args, console)


if __name__ == "__main__":
    main()
