"""Say where the time of a training step goes, in the real command.

    python benchmarks/train_step.py [--config FILE.yaml] [--images FOLDER] [KEY=VALUE ...]

A run of a configuration trains a few short epochs with its own loader, trainer and callbacks;
after each, its network (backbone and projector) makes the same passes alone, on a batch in place
and with the loader idle. The share of the network is the median of these passes by the median of
the steps. --vary compares settings, in turns. Without --images, patches of scikit-learn's two
photographs are read from JPEG files.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from common import ROOT, Figures, parser, publish, wide_console
from data import hardware, write_patches
from rich.progress import Progress
from spans import AHEAD, BACKWARD, FORWARD, PARTS, Watch

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.config.command import composed_of
from solo_ldm.run import fit
from solo_ldm.run.console import PlainConsole

CONFIG = ROOT / "scripts" / "pretrain" / "cifar" / "two_cores.yaml"


@dataclass
class Times:
    """Seconds of steps, of their parts and of the network alone."""

    whole: list[float] = field(default_factory=list)
    parts: list[defaultdict[str, float]] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    about: str = ""
    backend: str = ""
    images: int = 0

    @property
    def share(self) -> float:
        """Of the network alone in a step."""
        return statistics.median(self.alone) / statistics.median(self.whole)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the parts of a step, or the steps of several settings."""
    options = parser(__doc__)
    options.add_argument("--config", type=Path, default=CONFIG, help="a YAML of a run")
    options.add_argument("--images", type=Path, help="a folder of images")
    options.add_argument("--steps", type=int, default=20, help="timed, of each kind in a turn")
    options.add_argument("--rounds", type=int, default=3, help="turns")
    options.add_argument("--side", type=int, default=32, help="of the photographs' patches")
    options.add_argument(
        "--vary", nargs="+", default=[], metavar="KEY=VALUE[;KEY=VALUE]", help="compare settings"
    )
    options.add_argument("--write", action="store_true", help="update docs/speed.md")
    options.add_argument("overrides", nargs="*", help="key=value of the run")
    args = options.parse_intermixed_args(arguments)

    console = wide_console()
    settings = args.vary or [""]
    found = {setting: Times() for setting in settings}
    rounds = args.rounds if args.vary else 1
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        images = args.images or write_patches(Path(folder), args.side)
        for _ in range(rounds):
            for setting in progress.track(settings, description="runs", total=len(settings)):
                own = [*args.overrides, *filter(None, setting.split(";"))]
                measure(found[setting], args, images, own, 1 if args.vary else args.rounds)
    figures = compared(found) if args.vary else dissected(found[""])
    name = "settings" if args.vary else "step"
    publish([figures], ROOT / "docs" / "speed.md", name, "train_step.py", args, console)


def measure(
    times: Times, args: argparse.Namespace, images: Path, overrides: list[str], epochs: int
) -> None:
    """Train a few short epochs and add their times."""
    watch, build = Watch(args.steps), fit.build_trainer

    def watched(
        cfg: Any, hardware: Any, folder: Any, logger: Any, callbacks: Any, validates: bool
    ) -> Any:
        return build(cfg, hardware, folder, logger, [watch, *callbacks], validates)

    with tempfile.TemporaryDirectory() as folder:
        own = [
            f"data.train_path={images}",
            *([] if args.images else ["data.dataset=custom"]),
            f"checkpoint.dir={folder}",
            "evaluation.protocols=[]",
            "evaluation.report=false",
            f"max_epochs={epochs}",
            f"+trainer.limit_train_batches={args.steps + AHEAD}",
            "+trainer.limit_val_batches=1",
            *overrides,
        ]
        cfg = composed_of(args.config.stem, args.config.parent, own)
        with patch.object(fit, "build_trainer", watched):
            outcome = pretrain(cfg, PlainConsole(quiet=True))
    assert outcome is not None, "the run was not interrupted"
    one = outcome.results
    times.whole += watch.whole
    times.parts += watch.parts
    times.alone += watch.alone
    times.images = watch.images
    sides = sorted({crop.shape[-1] for crop in watch.crops}, reverse=True)
    times.about = (
        f"{args.config.stem}: {one['method']}, {one['backbone']}, batch {watch.images}, "
        f"{len(watch.crops)} views of {', '.join(map(str, sides))} pixels, {one['precision']}; "
        f"{hardware(torch.cuda.is_available())}"
    )
    times.backend = one["data_backend"]


def dissected(times: Times) -> Figures:
    """Return the table of a step's parts."""
    middle = statistics.median(times.whole)

    def row(name: str, values: list[float]) -> list[str]:
        each = 1e3 * statistics.median(values)
        return [name, f"{each:.2f}", f"{each / middle / 10:.1f} %"]

    rows = [row(part, [one[part] for one in times.parts]) for part in PARTS]
    rows.append(row("a step", times.whole))
    rows.append(row("the network alone, forward and backward", times.alone))
    inside = [one[FORWARD] + one[BACKWARD] for one in times.parts]
    about = (
        f"Medians over {len(times.whole)} steps: {times.images / middle:,.0f} images a second. "
        f"Within the step the network takes {statistics.median(inside) / middle:.1%}, alone "
        f"{times.share:.1%} of it. {times.about}; data by {times.backend}."
    )
    return Figures(["part", "ms", "of a step"], rows, about)


def compared(found: dict[str, Times]) -> Figures:
    """Return the table of settings."""
    rows = []
    for setting, times in found.items():
        middle = statistics.median(times.whole)
        each = [middle, min(times.whole), max(times.whole), statistics.median(times.alone)]
        speed = f"{times.images / middle:,.0f}"
        rows.append([setting, speed, *(f"{1e3 * one:.1f}" for one in each), f"{times.share:.1%}"])
    heads = ["setting", "images a second", "ms a step", "lowest", "highest", "network alone"]
    last = next(reversed(found.values()))
    return Figures([*heads, "its share"], rows, f"Medians of turns. {last.about}.")


if __name__ == "__main__":
    main()
