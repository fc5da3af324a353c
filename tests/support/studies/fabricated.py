"""Results of comparisons that never ran."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from solo_ldm.commands.compare.ranking import rank_methods
from solo_ldm.commands.compare.runs import Result
from solo_ldm.commands.compare.table import Comparison

PROTOCOLS = ("knn-20", "linear-features")


def result(label: str, seed: int, top1: float, **health: float) -> Result:
    """A finished run whose kNN score is 0.01 below its linear one."""
    scores = {
        name: {
            "top1": top1 - 0.01 * (name == "knn-20"),
            "untrained_top1": 0.5 + 0.1 * seed,
            "interval": [top1 - 0.02, top1 + 0.02],
            "ece": 0.1,
        }
        for name in PROTOCOLS
    }
    content = {
        "method": label,
        "dataset": "digits",
        "results": scores,
        "health": {
            "z_std": 0.3,
            "z_std_min": 0.1,
            "z_effective_rank": 20.0,
            "z_mean_cosine": 0.1,
            **health,
        },
        "settings": {"proj_output_dim": 64},
        "num_val_images": 1000,
        "num_train_images": 5000,
        "seconds": 10.0 + seed,
        "backbone": "convnet_small",
        "epochs": 60,
        "batch_size": 128,
        "precision": "32-true",
        "hardware": "an abacus",
        "data_backend": "torchvision",
        "versions": {"solo_ldm": "0.1.0", "torch": "2.15.0"},
        "commit": "0123456789abcdef",
        "finished": "2030-01-02T03:04:05+00:00",
    }
    return Result(label, seed, path=f"runs/{label}-{seed}", results=content)


def failed(label: str, seed: int) -> Result:
    return Result(label, seed, error="the loss is not finite at step 3")


def comparison_of(results: dict[str, list[Result]], **changes: Any) -> Comparison:
    standings = rank_methods(results, PROTOCOLS, "linear-features")
    made = Comparison(
        name="trial",
        protocols=PROTOCOLS,
        rank_by="linear-features",
        seeds=tuple(run.seed for run in next(iter(results.values()))),
        standings=tuple(standings),
        cells=dict.fromkeys(results, "plane, kernel, joint"),
        configs={label: (label, ()) for label in results},
        differences={},
        published=dict.fromkeys(results),
    )
    return replace(made, **changes)


SCORES = {
    "a": [0.90, 0.93, 0.91],
    "b": [0.95, 0.97, 0.96],
    "c": [0.94, 0.975, 0.95],
    "d": [0.70, 0.73, 0.71],
}
RESULTS = {
    label: [result(label, seed, value) for seed, value in enumerate(values)]
    for label, values in SCORES.items()
}


def rows_of(text: str) -> list[list[str]]:
    """The cells of a Markdown table, without its rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]
