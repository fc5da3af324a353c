"""Count the source images a second that each data path delivers, in one run.

    python benchmarks/data.py [--images FOLDER] [--solo-learn CHECKOUT] [--workers 2]

Every path reads the same images and draws the same number of views with the same augmentations:
DALI and torchvision from files and from memory, and solo-learn's own torchvision pipeline where it
is installed (or lies at --solo-learn). A source image is one image of the data set, however many
views are drawn of it. Paths take turns, so that their ratios hold on noisy machines. Without
--images, patches of scikit-learn's two photographs are written as JPEG files of 32 pixels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, Figures, parser, publish, wide_console
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from sklearn.datasets import load_sample_images

from solo_ldm import __version__
from solo_ldm.data.backends.base import Backend, TrainViews
from solo_ldm.data.backends.choice import dali_installed
from solo_ldm.data.backends.torchvision import TorchvisionBackend
from solo_ldm.data.config import DataConfig, ViewSpec, parse_augmentations
from solo_ldm.data.datasets.registry import load_source
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.data.sources.images import ArrayImages, ImageSource
from solo_ldm.run.record import cpu_name

PEER = "solo-learn, files"
HEADING = ["data path", "source images a second", "lowest", "highest", "times solo-learn"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of source images a second by data path."""
    options = parser(__doc__)
    options.add_argument("--images", type=Path, help="class folders of images")
    options.add_argument("--name", default=None, help="of those images, for the table")
    options.add_argument("--augmentations", default="cifar", help="of the group augmentations")
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--workers", type=int, default=2, help="processes, or threads of DALI")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4.0, help="of a path in each round")
    options.add_argument("--solo-learn", type=Path, help="a checkout of solo-learn")
    options.add_argument("--write", action="store_true", help="update docs/speed.md")
    args = options.parse_args(arguments)

    console = wide_console()
    text = (files("solo_ldm.configs") / f"augmentations/{args.augmentations}.yaml").read_text()
    augmentations: Any = OmegaConf.create(text)
    views = parse_augmentations(augmentations)
    with tempfile.TemporaryDirectory() as folder:
        images = args.images or write_patches(Path(folder), views[0].crop_size)
        config = DataConfig(dataset="custom", train_path=str(images), val_fraction=0.0)
        source = load_source(config, "train")
        assert source is not None, "a folder has training images"
        paths = our_paths(source, views, args)
        theirs = solo_learns(images, augmentations, args)
        if theirs is not None:
            paths[PEER] = theirs
        speeds = measure(paths, args.rounds, args.seconds, console)
    about = (
        f"{len(source):,} images ({args.name or args.images or 'patches of photographs'}), "
        f"{sum(view.num_crops for view in views)} views ({args.augmentations}), "
        f"batch {args.batch}, {args.workers} workers; {hardware(torch.cuda.is_available())}, "
        f"solo_ldm {__version__}, torch {torch.__version__}, {date.today()}"
    )
    rows = [row(name, rounds, speeds.get(PEER)) for name, rounds in by_speed(speeds)]
    figures = Figures(HEADING, rows, f"Median of turns. {about}.")
    publish([figures], ROOT / "docs" / "speed.md", "data", "data.py", args, console)


def by_speed(speeds: dict[str, list[float]]) -> list[tuple[str, list[float]]]:
    """Return the paths and their speeds, fastest first."""
    return sorted(speeds.items(), key=lambda item: -statistics.median(item[1]))


def row(name: str, rounds: list[float], peer: list[float] | None) -> list[str]:
    """Return a row of the table."""
    middle = statistics.median(rounds)
    times = f"{middle / statistics.median(peer):.1f}" if peer else "not installed"
    return [name, *(f"{speed:,.0f}" for speed in (middle, min(rounds), max(rounds))), times]


def hardware(gpu: bool) -> str:
    """Name the processor and, where there is one, the GPU."""
    names = [f"{torch.get_num_threads()} cores of {cpu_name()}"]
    return " and ".join([*names, torch.cuda.get_device_name(0)] if gpu else names)


def write_patches(folder: Path, side: int, count: int = 8192) -> Path:
    """Write patches of two photographs as JPEG files in two class folders."""
    generator = np.random.default_rng(0)
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir()
        tops = generator.integers(0, photograph.shape[0] - side, count // 2)
        lefts = generator.integers(0, photograph.shape[1] - side, count // 2)
        for number, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            patch = photograph[top : top + side, left : left + side]
            Image.fromarray(patch).save(folder / name / f"{number:04}.jpg", quality=95)
    return folder


def our_paths(
    source: ImageSource, views: tuple[ViewSpec, ...], args: argparse.Namespace
) -> dict[str, Callable[[], Iterator[int]]]:
    """Return our loaders by name, each a function that yields the size of every batch."""
    in_memory = decoded(source)
    paths: dict[str, Callable[[], Iterator[int]]] = {}

    def add(name: str, backend: Backend, images: ImageSource) -> None:
        sampler = EpochSampler(len(images), args.batch, seed=0)
        loader = backend.train_loader(TrainViews(images, views, seed=0), sampler, args.workers)

        def epoch() -> Iterator[int]:
            for indexes, _, _ in loader:
                yield len(indexes)

        paths[name] = epoch

    add("torchvision, files", TorchvisionBackend(), source)
    if in_memory is not None:
        add("torchvision, arrays", TorchvisionBackend(), in_memory)
    if not dali_installed():
        return paths
    from solo_ldm.data.backends.dali.loader import DaliBackend

    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        backend = DaliBackend(torch.device(device))
        add(f"DALI on {device}, files", backend, source)
        if in_memory is not None:
            add(f"DALI on {device}, arrays", backend, in_memory)
    return paths


def decoded(source: ImageSource, most: int = 8192) -> ArrayImages | None:
    """Return the first images in memory; None if their sizes differ."""
    images = [np.asarray(source.load(index)) for index in range(min(len(source), most))]
    if len({image.shape for image in images}) > 1:
        return None
    labels = source.labels[: len(images)]
    arrays = np.stack(images)
    return ArrayImages(arrays, source.name, labels, source.classes, source.mean, source.std)


def solo_learns(
    images: Path, augmentations: Any, args: argparse.Namespace
) -> Callable[[], Iterator[int]] | None:
    """Return the pipeline that solo-learn's main_pretrain.py builds, if it is there."""
    if args.solo_learn is not None:
        sys.path.insert(0, str(args.solo_learn))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from solo.data import pretrain_dataloader as theirs  # pyright: ignore
    except ImportError:
        return None
    transforms = [
        theirs.prepare_n_crop_transform(
            [theirs.build_transform_pipeline("custom", view)], num_crops_per_aug=[view.num_crops]
        )
        for view in augmentations
    ]
    dataset = theirs.prepare_datasets("custom", transforms[0], train_data_path=str(images))
    loader = theirs.prepare_dataloader(dataset, args.batch, args.workers)

    def epoch() -> Iterator[int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for indexes, _, _ in loader:
                yield len(indexes)

    return epoch


def measure(
    paths: dict[str, Callable[[], Iterator[int]]], rounds: int, seconds: float, console: Console
) -> dict[str, list[float]]:
    """Return the images a second of each path in each round, after its first batch."""
    speeds: dict[str, list[float]] = {name: [] for name in paths}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=rounds * len(paths))
        for _ in range(rounds):
            for name, epoch in paths.items():
                progress.update(task, description=name, advance=1)
                speeds[name].append(_speed(epoch, seconds))
    return speeds


def _speed(epoch: Callable[[], Iterator[int]], seconds: float) -> float:
    count, spent = 0, 0.0
    while spent < seconds:
        batches = epoch()
        next(batches)  # starts threads or processes
        start = time.perf_counter()
        for size in batches:
            count += size
            if spent + time.perf_counter() - start > seconds:
                break
        spent += time.perf_counter() - start
        batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    return count / spent


if __name__ == "__main__":
    main()
