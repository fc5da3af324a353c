"""What results.json says of a predictive run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from omegaconf import DictConfig, OmegaConf

from predictive.commands.predictive.gradients import CompareEntropyGradients
from predictive.data.sequences import TimeSeriesData
from predictive.decoding.identifiability import Identifiability
from predictive.decoding.score import DecodingScore
from predictive.evaluation import Assessment
from predictive.method import PredictiveMethod
from solo_ldm.run.callbacks.progress import TrainingClock
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.metrics import MetricsCSV
from solo_ldm.run.provenance import commit, hardware_name, versions

_TERMS = ("train_ldm_loss", "train_log_prob", "train_entropy")


@dataclass(frozen=True)
class PredictiveRun:
    """A run after training.

    Args:
        cfg: the completed configuration.
        method: the trained method.
        data: its data.
        hardware: what it was trained on.
        folder: its folder.
        logger: its metrics over epochs.
        clock: its training time.
        cosines: of the entropies' gradients, if asked for.
    """

    cfg: DictConfig
    method: PredictiveMethod
    data: TimeSeriesData
    hardware: Hardware
    folder: RunFolder
    logger: MetricsCSV
    clock: TrainingClock
    cosines: CompareEntropyGradients | None


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
        "hardware": hardware_name(run.hardware),
        "num_processes": run.hardware.num_processes,
        "precision": run.hardware.precision,
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
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
    }


def _identified(found: Identifiability | None) -> dict[str, float] | None:
    if found is None:
        return None
    rotation = {} if found.procrustes is None else {"procrustes_r2": found.procrustes.r2}
    return {"affine_r2": found.to_true.r2, "affine_r2_back": found.to_recovered.r2, **rotation}
