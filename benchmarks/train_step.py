"""Time whole training steps with their data, and the same steps on data already in place.

    python benchmarks/train_step.py [--backbone resnet18] [--size 32] [--format auto]

The difference is what loading costs a step: the share of the loader. Both are timed in turns in
one run, with the method, optimiser and precision of a configuration. Without --images, patches of
scikit-learn's two photographs are read from JPEG files.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from common import Figures, configuration, parser, wide_console
from data import write_patches
from omegaconf import OmegaConf
from rich.progress import Progress

from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.methods import find_method
from solo_ldm.run.configuration import complete, for_method
from solo_ldm.run.hardware import resolve_hardware

# Turns that each kind of step gets, and the most batches that a loader fetches ahead.
_TURNS = 2
_AHEAD = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the time of a step with and without its data, and the loader's share."""
    options = parser(__doc__)
    options.add_argument("--images", type=Path, help="a folder of images")
    options.add_argument("--config", default="gaussprob")
    options.add_argument("--backbone", default="resnet18")
    options.add_argument("--size", type=int, default=32, help="side of the patches and the views")
    options.add_argument("--augmentations", default="cifar", help="of the group augmentations")
    options.add_argument("--format", default="auto", help="auto, dali or torchvision")
    options.add_argument("--batch", type=int, default=None, help="64 on a CPU, 256 on a GPU")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--steps", type=int, default=None, help="of each kind: 6, or 100 on a GPU")
    args = options.parse_args(arguments)
    gpu = torch.cuda.is_available()
    batch, steps = args.batch or (256 if gpu else 64), args.steps or (100 if gpu else 6)

    console = wide_console()
    with tempfile.TemporaryDirectory() as folder:
        images = args.images or write_patches(Path(folder), args.size)
        data, step = build(args, images, batch)
        with Progress(console=console, transient=True) as progress:
            loaded, in_place = measure(data, step, steps, progress)
        with_data, without = statistics.median(loaded), statistics.median(in_place)
        rows = []
        for name, times in (("with its data", loaded), ("data in place", in_place)):
            middle = statistics.median(times)
            row = (1e3 * time for time in (middle, min(times), max(times)))
            rows.append([name, *(f"{time:.1f}" for time in row), f"{batch / middle:.0f}"])
        console.print(
            f"{args.config}, {args.backbone}, batch {batch}, {data.num_large_crops} views of "
            f"{data.image_size} pixels, {data.backend}, {step.device}",
            soft_wrap=True,
        )
        heads = ["step", "ms", "lowest", "highest", "images/s"]
        Figures(heads, rows).show(console, args.csv)
        console.print(f"loading costs {100 * (with_data / without - 1):.1f} % of a step")


class Step:
    """One optimisation step of a method, outside Lightning."""

    def __init__(self, method: Any, device: torch.device) -> None:
        self.device = device
        self._method = method.to(device).train()
        # Lightning's logging needs its trainer.
        self._method.log_dict = lambda *args, **kwargs: None
        self._method.log = lambda *args, **kwargs: None
        self._optimizer = torch.optim.SGD(method.parameters(), lr=1e-3)

    def __call__(self, batch: Any) -> None:
        """Train on one batch, and wait for the device."""
        indexes, views, targets = batch
        moved = [view.to(self.device, non_blocking=True) for view in views]
        gpu = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=gpu):
            out = self._method.training_step([indexes, moved, targets.to(self.device)], 0)
        self._optimizer.zero_grad()
        (out["loss"] if isinstance(out, dict) else out).backward()
        self._optimizer.step()
        if gpu:
            torch.cuda.synchronize(self.device)


def build(args: argparse.Namespace, images: Path, batch: int) -> tuple[ImageDataModule, Step]:
    """Build the data and the step of a configuration."""
    overrides = [
        f"backbone.name={args.backbone}",
        f"data.train_path={images}",
        "data.dataset=custom",
        f"data.format={args.format}",
        f"data.num_workers={args.workers}",
        f"optimizer.batch_size={batch}",
        "method_kwargs.proj_hidden_dim=2048",
        "method_kwargs.proj_output_dim=2048",
    ]
    cfg = configuration(args.config, overrides)
    text = (files("solo_ldm.configs") / f"augmentations/{args.augmentations}.yaml").read_text()
    views: Any = OmegaConf.create(text)
    for view in views:
        view.crop_size = args.size
    cfg.augmentations = views
    cfg = complete(cfg)
    hardware = resolve_hardware(cfg)
    data = ImageDataModule(DataConfig(**cfg.data), views, batch, cfg.seed, hardware.device)
    return data, Step(find_method(cfg.method)(for_method(cfg, data, hardware)), hardware.device)


def measure(
    data: ImageDataModule, step: Step, steps: int, progress: Progress
) -> tuple[list[float], list[float]]:
    """Return the seconds of steps with their data and of steps on one batch in place."""
    task = progress.add_task("steps", total=2 * steps)
    batches = _endless(data)
    first = next(batches)
    in_place = [first[0], [view.to(step.device) for view in first[1]], first[2].to(step.device)]
    step(in_place)
    loaded, placed = [], []
    for _ in range(_TURNS):
        # What was fetched ahead while data were in place would flatter the loader.
        for _ in range(_AHEAD):
            next(batches)
        for times, fetch in ((loaded, lambda: next(batches)), (placed, lambda: in_place)):
            for _ in range(steps // _TURNS):
                start = time.perf_counter()
                step(fetch())
                times.append(time.perf_counter() - start)
                progress.advance(task)
    return loaded, placed


def _endless(data: ImageDataModule) -> Iterator[Any]:
    loader = data.train_dataloader()
    while True:
        yield from loader


if __name__ == "__main__":
    main()
