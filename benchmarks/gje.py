"""Train Gaussian joint embeddings and SimCLR on digits and write what their uncertainty is worth.

    python benchmarks/gje.py [--seeds 5] [--jobs 2] [--write] [key=value ...]

Finished runs of the same configuration, and their evaluations, are not repeated: stopped in the
middle, the command goes on where it was. --write puts the table into docs/methods.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from rich.console import Console
from rich.progress import track

from solo_ldm.commands.compare.runs import Result, Run, find_result, train_all
from solo_ldm.commands.uncertainty import uncertainty
from solo_ldm.run.configuration import complete
from solo_ldm.run.folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("gje", "gje_moving_average", "gje_entropy", "simclr")
PAGE = ROOT / "docs" / "methods.md"
START, END = "<!-- gje: made by benchmarks/gje.py -->", "<!-- /gje -->"
# Of the 90 % intervals and ellipsoids.
LEVEL = 0.9


def config(preset: str, overrides: list[str]) -> Any:
    """Compose a packaged configuration."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose(preset, overrides=overrides)


def assess(result: Result) -> dict[str, Any] | None:
    """Return the uncertainty of a run, assessed unless it was; None where it predicts none."""
    if result.results is None or result.path is None:
        raise SystemExit(f"{result.label}, seed {result.seed}: {result.error}")
    if result.results["latent"] != "conditional":
        return None
    kept, made_from = (
        Path(result.path, "evaluation", "results.json"),
        RunFolder(Path(result.path)).results,
    )
    if kept.exists() and kept.stat().st_mtime >= made_from.stat().st_mtime:
        return json.loads(kept.read_text())
    return uncertainty(config("uncertainty", [f"pretrained_feature_extractor={result.path}"]), Console(quiet=True)).results


def scores(result: Result, found: dict[str, Any] | None) -> dict[str, float]:
    """Return the numbers of a run by the columns of the table."""
    assert result.results is not None, "assess refuses runs that failed"
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


def spread(values: list[float], digits: int) -> str:
    """Write mean ± standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def cell(runs: list[dict[str, float]], column: str, digits: int, factor: float = 1.0) -> str:
    """Return a cell of the table: over the runs of a method, or nothing where they have none."""
    values = [factor * run[column] for run in runs if column in run]
    return spread(values, digits) if values else "–"


def gained(runs: list[dict[str, float]], column: str) -> str:
    """Return a score in percent, and of how many runs it is above that of the untrained network."""
    above = sum(run[f"{column} gain"] > 0 for run in runs)
    return f"{cell(runs, column, 1, 100)} ({above} of {len(runs)})"


def table(found: dict[str, list[dict[str, float]]], one: dict[str, Any], draws: str) -> str:
    """Return the Markdown table with its protocol beneath."""
    lines = [
        "| config | variance | strength | within an image | inverted | intervals | ellipsoids "
        "| nats | ECE | knn-20 | linear-features | rank |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        cells = [
            name,
            cell(runs, "variance", 3),
            *(cell(runs, column, 2) for column in ("strength", "within an image", "inverted")),
            *(cell(runs, column, 2) for column in ("intervals", "ellipsoids", "nats")),
            cell(runs, "ece", 3),
            *(gained(runs, column) for column in ("knn-20", "linear-features")),
            cell(runs, "rank", 1),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    versions = one["versions"]
    lines += [
        "",
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
        "that are above untrained. Rank: effective rank of the features.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Train, assess, print the table and, with --write, update the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--presets", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    parser.add_argument("--write", action="store_true", help="update docs/methods.md")
    parser.add_argument("overrides", nargs="*", help="key=value, for every run")
    args = parser.parse_args()
    console = Console()
    fixed = ["checkpoint.dir=trained_models/gje", "evaluation.report=false"]
    fixed += ["evaluation.protocols=[knn-20,linear-features]"]
    if args.jobs > 1:
        # The cores are taken; and loaders would start their workers by spawning, seconds each.
        fixed.append("data.num_workers=0")
    runs = [
        Run(name, seed, complete(config(name, [*fixed, *args.overrides, f"seed={seed}"])))
        for seed in range(args.seeds)
        for name in args.presets
    ]
    done = [result for result in map(find_result, runs) if result is not None]
    there = {(result.label, result.seed) for result in done}
    waiting = [run for run in runs if (run.label, run.seed) not in there]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in args.presets}
    one, draws = None, ""
    results = itertools.chain(done, train_all(waiting, args.jobs))
    for result in track(results, "runs", total=len(runs), console=console):
        predicted = assess(result)
        found[result.label].append(scores(result, predicted))
        one = one or result.results
        if predicted is not None:
            strengths = predicted["strength"]["strengths"]
            draws = (
                f" ({min(strengths):g} to {max(strengths):g} times that of the training, "
                f"{predicted['num_draws']} draws)"
            )
    assert one is not None, "there is at least one run"
    text = table(found, one, draws)
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    if args.write:
        before, _, rest = PAGE.read_text().partition(START)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")
        console.print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
