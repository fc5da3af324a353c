"""The results of a predictive run: the content of results.json, and a summary to read."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.text import Text

from predictive.data.sequences import TimeSeriesData
from predictive.decoding.identifiability import Identifiability
from predictive.decoding.score import DecodingScore
from predictive.evaluation import Assessment
from predictive.training import PredictiveRun
from solo_ldm.run.record import print_summary, provenance

_TERMS = ("train_ldm_loss", "train_log_prob", "train_entropy")


def content_of(run: PredictiveRun, assessment: Assessment) -> dict[str, Any]:
    """Return the content of results.json."""
    cfg, logger = run.cfg, run.metrics
    last = {name: (logger.column(name) or [math.nan])[-1] for name in _TERMS}
    online = {name: (logger.column(f"val_{name}_r2") or [math.nan])[-1] for name in cfg.decoders}
    return {
        "method": cfg.method,
        "entropy": cfg.objective.entropy,
        "over": None if cfg.objective.entropy == "stop_gradient" else cfg.objective.over,
        "dataset": cfg.data.dataset,
        "data": run.data.description,
        "num_train_sequences": len(run.data.train),
        "num_held_out_sequences": len(run.data.held_out),
        "settings": {
            name: OmegaConf.to_container(cfg[name])
            for name in ("data", "encoder", "predictor", "objective", "optimizer")
        },
        "epochs": cfg.max_epochs,
        "seed": cfg.seed,
        **provenance(run.hardware),
        "num_processes": run.hardware.num_processes,
        "continued_from": run.origins,
        "precision": run.hardware.precision,
        "seconds": round(run.clock.seconds, 3),
        "final_terms": {name.removeprefix("train_"): last[name] for name in _TERMS},
        "results": {
            "protocol": (
                "decoders fitted on training sequences, scored on held-out ones; null: the same "
                "after shifting the training targets circularly in time"
            ),
            "online_r2": online,
            "decoding": {
                target: [score_content(one) for one in scores]
                for target, scores in assessment.scores.items()
            },
            "intervals": {
                target: {
                    "level": 0.95,
                    "decoder": one.kind,
                    "coverage": one.coverage.fraction,
                    "coverage_interval": [one.coverage.low, one.coverage.high],
                    "num_bins": one.coverage.num_bins,
                    "num_effective_bins": one.coverage.num_effective,
                }
                for target, one in assessment.intervals.items()
            },
            "identifiability": None
            if assessment.after is None
            else {
                "target": cfg.evaluation.identify,
                "before": _identified(assessment.before),
                "after": _identified(assessment.after),
            },
            "noise_correlation": assessment.noise_correlation,
            "gradient_cosine": None if run.cosines is None else run.cosines.rows,
        },
    }


def score_content(score: DecodingScore) -> dict[str, Any]:
    """Return a decoder's score for results.json."""
    return {
        "features": score.features,
        "decoder": score.kind,
        "r2": score.r2,
        "r2_per_dim": score.r2_per_dim.tolist(),
        "median_absolute_error": score.median_absolute_error,
        "null_mean": score.null_mean,
        "null_high": score.null_high,
        "num_train_bins": score.num_train,
        "num_test_bins": score.num_test,
        **({} if score.category is None else asdict(score.category)),
    }


def _error(score: dict[str, Any], data: TimeSeriesData, target: str) -> str:
    """Return what is said of a decoded angle or category beside R² of its columns."""
    if "accuracy" in score:
        return (
            f", {score['accuracy']:.1%} right, {score['chance_accuracy']:.1%} by chance; log loss "
            f"{score['log_loss']:.3f}, {score['chance_log_loss']:.3f} by chance"
        )
    if target not in data.kinds:
        return ""
    unit = data.units.get(target, "")
    return f", median error {score['median_absolute_error']:.3g} {unit}".rstrip()


def _identified(found: Identifiability | None) -> dict[str, float] | None:
    if found is None:
        return None
    rotation = {} if found.procrustes is None else {"procrustes_r2": found.procrustes.r2}
    return {"affine_r2": found.to_true.r2, "affine_r2_back": found.to_recovered.r2, **rotation}


def report(run: PredictiveRun, results: dict[str, Any], console: Console) -> None:
    """Print what was made, how good it is, where it is and what to run next."""
    seconds = f"{results['epochs']} epochs in {results['seconds']:.0f} s"
    rows: list[tuple[str, str | Text]] = [("trained", seconds)]
    found = results["results"]
    for target, scores in found["decoding"].items():
        rows += [
            (
                target,
                Text.assemble(
                    (f"R² {score['r2']:.3f}", "bold green"),
                    f" from {score['features']}, {score['decoder']} (null at most "
                    f"{score['null_high']:.3f}){_error(score, run.data, target)}",
                ),
            )
            for score in scores
        ]
    for target, interval in found["intervals"].items():
        inside = f"{100 * interval['coverage']:.1f} % of held-out bins in the 95 % interval"
        rows.append((target, inside))
    if found["noise_correlation"] is not None:
        rows.append(("noise", f"inferred against true: r = {found['noise_correlation']:.3f}"))
    if found["identifiability"] is not None:
        before, after = (found["identifiability"][when] for when in ("before", "after"))
        first = f"{before['affine_r2']:.3f} before training, " if before else ""
        rows.append(
            (
                "affine R²",
                Text.assemble(first, (f"{after['affine_r2']:.3f}", "bold green"), " after"),
            )
        )
    folder = run.folder
    rows.append(("files", ", ".join([folder.results.name, folder.metrics.name, "checkpoints/"])))
    pictures = sorted(path.name for path in folder.path.glob("*.png"))
    if pictures:
        rows.append(("pictures", ", ".join(pictures)))
    other = "neighbour" if run.cfg.objective.entropy == "stop_gradient" else "stop_gradient"
    follow_ups = [
        f"the same command with objective.entropy={other}",
        "solo-ldm predictive --config-name recording data.path=FILE  # your recording",
    ]
    if run.data.kind == "spikes":
        follow_ups.insert(0, "solo-ldm decode --config-name ...  # the same over all folds")
    title = f"{results['method']} on {results['data']}"
    print_summary(console, title, rows, folder.path, follow_ups)
