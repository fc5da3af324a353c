"""Say what small backbones cost: parameters, multiply-adds, images a second forward and backward.

    python benchmarks/backbones.py [--compile] [--write] [NAME ...]

An image a second is one view of 32 pixels through the network, forward and backward. Networks and
settings take turns. --compile adds torch.compile, and the seconds until it has compiled.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import torch
from common import ROOT, Figures, parser, publish, wide_console
from data import hardware
from rich.progress import Progress
from spans import seconds
from torch.utils.flop_counter import FlopCounterMode

from solo_ldm.backbones import create_backbone
from solo_ldm.backbones.tiny import WIDTHS

NAMES = (
    *(f"resnet_tiny_{width}" for width in WIDTHS),
    *("convnet_small", "mobilenetv3_small_100", "vit_tiny", "resnet10t", "resnet18"),
)
# Precision, and whether the channels of an image are last in memory.
SETTINGS = [*itertools.product((torch.float32, torch.bfloat16), (False, True))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("names", nargs="*", default=NAMES, help="of timm models or ours")
    options.add_argument("--side", type=int, default=32, help="of the images in pixels")
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=0.7, help="of a setting in a turn")
    options.add_argument("--compile", action="store_true", help="compile the last setting too")
    options.add_argument("--write", action="store_true", help="update docs/backbones.md")
    args = options.parse_args(arguments)
    console = wide_console()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    steps: dict[str, list[Callable[[], None]]] = {}
    compiling: dict[str, float] = {}
    speeds: dict[tuple[str, int], list[float]] = {}
    with Progress(console=console, transient=True) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in progress.track(args.names, description="networks"):
            steps[name] = [training_pass(name, *one, args, device) for one in SETTINGS]
            if args.compile:
                start = time.perf_counter()
                compiled = training_pass(name, *SETTINGS[-1], args, device, compiled=True)
                compiled()
                compiling[name] = time.perf_counter() - start
                steps[name].append(compiled)
        task = progress.add_task("turns", total=args.rounds * len(steps))
        for _, (name, kinds) in itertools.product(range(args.rounds), steps.items()):
            for number, step in enumerate(kinds):
                each = args.batch / step_time(step, args.seconds)
                speeds.setdefault((name, number), []).append(each)
            progress.advance(task)
    rows = []
    for name, kinds in steps.items():
        each = (f"{statistics.median(speeds[name, number]):,.0f}" for number in range(len(kinds)))
        row = [name, *size(name, args.side), *each]
        rows.append([*row, f"{compiling[name]:.0f}"] if args.compile else row)
    heads = ["backbone", "features", "parameters, millions", "multiply-adds, millions"]
    heads += [f"{precision(kind)}{', channels last' if last else ''}" for kind, last in SETTINGS]
    heads += ["the last compiled", "seconds to compile"] if args.compile else []
    about = (
        f"Images a second forward and backward, {args.side} pixels, batch {args.batch}; medians of "
        f"{args.rounds} turns. {hardware(device.type == 'cuda')}, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}, {date.today()}."
    )
    figures = Figures(heads, rows, about)
    page = ROOT / "docs" / "backbones.md"
    publish([figures], page, "backbones", "backbones.py", args, console)


def precision(kind: torch.dtype) -> str:
    """Return the name of a precision."""
    return str(kind).removeprefix("torch.")


def size(backbone: str, side: int) -> list[str]:
    """Return the features, millions of parameters and of multiply-adds of an image."""
    network: Any = create_backbone(backbone, side).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    parameters = sum(one.numel() for one in network.parameters())
    each = (parameters / 1e6, counter.get_total_flops() / 2e6)
    return [str(network.num_features), *(f"{one:.2f}" for one in each)]


def training_pass(
    backbone: str,
    kind: torch.dtype,
    channels_last: bool,
    args: Any,
    device: torch.device,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return a function that goes forward and backward once."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    network = create_backbone(backbone, args.side).train().to(device).to(memory_format=form)
    images = torch.randn(args.batch, 3, args.side, args.side, device=device)
    images = images.to(memory_format=form)
    if compiled:
        network.compile()

    def step() -> None:
        with torch.autocast(device.type, kind, enabled=kind != torch.float32):
            features = network(images)
        network.zero_grad()
        features.backward(torch.ones_like(features))

    return step


def step_time(step: Callable[[], None], least: float) -> float:
    """Return the median seconds of a pass, over at least so many seconds after a first pass."""
    step()
    times: list[float] = []
    while not times or sum(times) < least:
        start = seconds()
        step()
        times.append(seconds() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
