"""What each technique of scripts/pretrain/cifar/two_cores.yaml gives, at equal time of training.

    python benchmarks/budget.py --images FOLDER [--minutes 4] [--only NAME ...] [--write]

Every row differs from the budget in what it names. Its speed is measured first; then it gets as
many steps as fit in the time. Scores are on a tenth of the training images, held out; the test
images are not used. Rows are kept in --records as they end, and are not repeated.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from common import ROOT, Figures, parser, publish, wide_console
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from solo_ldm.commands.pretrain.run import run
from solo_ldm.files import read_json, write_json
from solo_ldm.run.configuration import complete
from solo_ldm.run.record import cpu_name

SCRIPTS = ROOT / "scripts" / "pretrain" / "cifar"
BUDGET = "the budget"
# Rates are for 256 samples a step: those of other batches are chosen for an equal rate a step.
ROWS: dict[str, list[str]] = {
    BUDGET: [],
    "float32": ["precision=32-true"],
    "channels first": ["performance.disable_channel_last=true"],
    "crops of 32 pixels": ["resolution=null"],
    "crops of 16 pixels": ["resolution=[0.5]"],
    "crops of 16, 24, then 32 pixels": ["resolution=[0.5,0.75,1.0]"],
    "four crops of 16 pixels": ["resolution=[0.5]", "augmentations.num_crops=4"],
    "batch 256": ["optimizer.batch_size=256", "optimizer.lr=0.003"],
    "batch 64": ["optimizer.batch_size=64", "optimizer.lr=0.012"],
    "AdamW not fused": ["optimizer.kwargs.fused=false"],
    "SGD, rate 0.1": ["optimizer.name=sgd", "optimizer.lr=0.2"],
    "resnet_tiny_32": ["backbone.name=resnet_tiny_32"],
    "resnet_tiny_64": ["backbone.name=resnet_tiny_64"],
    "resnet_tiny_96": ["backbone.name=resnet_tiny_96"],
    "convnet_small": ["backbone.name=convnet_small"],
    "resnet18": ["backbone.name=resnet18"],
    "none of it: convnet_small, float32, 32 pixels, batch 256": [
        "backbone.name=convnet_small",
        "precision=32-true",
        "resolution=null",
        "optimizer.batch_size=256",
        "optimizer.lr=0.003",
    ],
}
HEADS = ["differs in", "images/s", "epochs", "knn-20", "linear-features", "to the budget"]
# Parts of the training, for the schedule and the progress bar, and steps that tell the speed.
_PARTS, _TRIED = 10, 40


def configured(overrides: Sequence[str], images: Path, folder: Path, seed: int) -> Any:
    """Return the completed configuration of a row."""
    own = [f"data.train_path={images}", f"checkpoint.dir={folder}", f"seed={seed}"]
    views = [one for one in overrides if one.startswith("augmentations.")]
    with initialize_config_dir(str(SCRIPTS), version_base="1.3"):
        cfg = compose(
            "two_cores",
            [
                *own,
                "data.held_out=0.1",
                "evaluation.report=false",
                "checkpoint.enabled=false",
                "auto_resume.enabled=false",
                "hydra.searchpath=[pkg://solo_ldm.configs]",
                *(one for one in overrides if one not in views),
            ],
        )
    for view in cfg.augmentations:  # Hydra does not override entries of a list
        view.merge_with_dotlist([one.removeprefix("augmentations.") for one in views])
    return complete(cfg)


def trained(cfg: Any, **changes: Any) -> dict[str, Any]:
    """Train and return the results."""
    merged: Any = OmegaConf.merge(cfg, changes)
    outcome = run(merged, Console(quiet=True))
    if outcome is None:
        raise SystemExit("stopped; the same command continues")
    return outcome.results


def measured(overrides: Sequence[str], args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train one row for --minutes; return its speed, its epochs and its scores."""
    cfg = configured(overrides, args.images, folder, args.seed)
    batch = cfg.optimizer.batch_size
    shares = len(cfg.resolution or [1.0])  # an epoch each is the least
    trial = {"limit_train_batches": _TRIED // shares, "limit_val_batches": 0}
    none = {"protocols": []}
    first = trained(cfg, max_epochs=shares, trainer=trial, evaluation=none)
    steps = 60 * args.minutes * first["images_per_second"] / batch
    limits = {"limit_train_batches": max(1, round(steps / _PARTS)), "limit_val_batches": 0}
    warm_up = {"warmup_epochs": _PARTS / 8}
    results = trained(cfg, max_epochs=_PARTS, trainer=limits, scheduler=warm_up)
    images = _PARTS * limits["limit_train_batches"] * batch
    return {
        "images_per_second": results["images_per_second"],
        "epochs": images / results["num_train_images"],
        "seconds": results["seconds"],
        "scored_on": results["num_val_images"],
        "scores": {name: one["top1"] for name, one in results["results"].items()},
        "untrained": {name: one["untrained_top1"] for name, one in results["results"].items()},
    }


def table(rows: dict[str, dict[str, Any]], args: argparse.Namespace) -> Figures:
    """Return the table of the rows that are there."""
    base = rows.get(BUDGET, {}).get("scores", {}).get("linear-features")
    cells = []
    for name, one in rows.items():
        knn, linear = (one["scores"].get(key) for key in ("knn-20", "linear-features"))
        gain = "" if base is None or name == BUDGET else f"{100 * (linear - base):+.1f}"
        speed = f"{one['images_per_second']:.0f}"
        scores = [f"{100 * score:.1f}" for score in (knn, linear)]
        cells.append([name, speed, f"{one['epochs']:.1f}", *scores, gain])
    one = next(iter(rows.values()))
    taken = [round(row["seconds"]) for row in rows.values()]
    threads = torch.get_num_threads()
    about = (
        f"Top-1 in percent on {one['scored_on']} held-out training images (standard error "
        f"{100 * 0.5 / one['scored_on'] ** 0.5:.1f} at most), one seed; the network of the first "
        f"row has {100 * one['untrained']['linear-features']:.1f} (linear-features) untrained. As "
        f"many steps as a short trial says fit into {args.minutes:g} minutes; the trainings took "
        f"{min(taken)} to {max(taken)} s. {threads} thread{'s' * (threads > 1)} of {cpu_name()}, "
        f"torch {torch.__version__}."
    )
    return Figures(HEADS, cells, about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train each row for the same time and print the table."""
    options = parser(__doc__)
    options.add_argument("--images", type=Path, required=True, help="of cifar10-jpeg")
    options.add_argument("--minutes", type=float, default=4.0, help="of training a row")
    options.add_argument("--only", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--records", type=Path, default=Path("benchmarks/results/budget.json"))
    options.add_argument("--write", action="store_true", help="update docs/two-cores.md")
    options.add_argument("overrides", nargs="*", help="key=value, for every row")
    args = options.parse_args(arguments)
    console = wide_console()
    known = read_json(args.records) if args.records.exists() else {}
    for name in args.only:
        overrides = [*args.overrides, *ROWS[name]]
        how = {"minutes": args.minutes, "seed": args.seed, "overrides": overrides}
        if name not in known or known[name]["how"] != how:
            with tempfile.TemporaryDirectory() as folder, console.status(f"training: {name}"):
                known[name] = {"how": how, **measured(overrides, args, Path(folder))}
            args.records.parent.mkdir(parents=True, exist_ok=True)
            write_json(args.records, known)
    chosen = {name: known[name] for name in args.only}
    page = ROOT / "docs" / "two-cores.md"
    publish([table(chosen, args)], page, "budget", "budget.py", args, console)


if __name__ == "__main__":
    main()
