"""Count the images a second of SimCLR in three libraries, with one network, in one run.

    python benchmarks/peers.py [--images FOLDER] [--solo-learn CHECKOUT] [--backbones NAME ...]

Each trains as its users do on this machine: ours by the real command, in bfloat16 where the
processor has it and in float32; solo-learn by the loader, method and optimiser of its
main_pretrain.py; lightly by the data set, transform, head and loss of its example. Network, batch,
views, files and number of workers are the same. Each has a process of its own, which trains anew
in every turn. Without --images, patches of two photographs are written as JPEG files.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import date
from multiprocessing import get_context, set_start_method
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import lightning.pytorch as pl
import torch
from common import ROOT, Figures, parser, publish, wide_console
from data import hardware, write_patches
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from rich.progress import Progress
from spans import AHEAD, seconds

from solo_ldm import __version__
from solo_ldm.backbones import create_backbone
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.config.command import composed_of
from solo_ldm.run import fit
from solo_ldm.run.console import PlainConsole
from solo_ldm.run.hardware import resolve_hardware
from solo_ldm.run.trainer import without_lightnings_advice

HIDDEN, OUTPUTS, TEMPERATURE, SIDE = 512, 128, 0.2, 32
OURS, OURS32, SOLO, LIGHTLY = "solo_ldm", "solo_ldm in float32", "solo-learn", "lightly"


class StepClock(Callback):
    """Take the seconds from the end of one step to that of the next."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._last: float | None = None

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a step, unless its data were fetched ahead."""
        now = seconds()
        if self._last is not None and batch_idx >= AHEAD:
            self.steps.append(now - self._last)
        self._last = now


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of images a second."""
    options = parser(__doc__)
    options.add_argument("--images", type=Path, help="class folders of JPEG files")
    options.add_argument("--solo-learn", type=Path, help="a checkout of solo-learn")
    options.add_argument("--backbones", nargs="+", default=["resnet_tiny_64"])
    for name, default in (("--batch", 256), ("--workers", 2), ("--steps", 15), ("--rounds", 3)):
        options.add_argument(name, type=int, default=default)
    options.add_argument("--in-process", action="store_true", help="all in this process")
    options.add_argument("--write", action="store_true", help="update docs/speed.md")
    args = options.parse_args(arguments)
    console = wide_console()
    trainers = {OURS: ours, OURS32: ours_in_float32, SOLO: solo_learns, LIGHTLY: lightlys}
    if args.solo_learn is None:
        del trainers[SOLO]
        console.print("solo-learn is left out: give --solo-learn CHECKOUT")
    else:
        args.solo_learn = args.solo_learn.resolve()
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        args.images = (args.images or write_patches(Path(folder), SIDE)).resolve()
        homes = {name: process(args.in_process) for name in trainers}
        turns: Any = [*itertools.product(args.backbones, range(args.rounds), trainers.items())]
        for backbone, _, (name, train) in progress.track(turns, description="turns"):
            steps = homes[name].submit(in_folder, train, args, backbone).result()
            found.setdefault((backbone, name), []).extend(steps)
        for home in homes.values():
            home.shutdown()
    publish([table(found, args)], ROOT / "docs" / "speed.md", "peers", "peers.py", args, console)


def process(in_process: bool) -> Executor:
    """Return a process of its own with as many threads as this one; or this process."""
    if in_process:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(1, get_context("spawn"), by_itself, (torch.get_num_threads(),))


def by_itself(threads: int) -> None:
    """Let a process be as one that was started by hand; loaders would spawn their workers else."""
    set_start_method(None, force=True)
    torch.set_num_threads(threads)


def in_folder(
    train: Callable[[argparse.Namespace, str], list[float]], args: argparse.Namespace, backbone: str
) -> list[float]:
    """Train in a folder that is removed, and return the seconds of the steps."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            return train(args, backbone)
        finally:
            os.chdir(before)


def table(found: dict[tuple[str, str], list[float]], args: argparse.Namespace) -> Figures:
    """Return the table."""
    heads = ["network", "library", "images a second", "lowest", "highest", "ours is faster"]
    rows = []
    for (backbone, name), steps in found.items():
        middle = statistics.median(steps)
        speeds = (f"{args.batch / one:,.0f}" for one in (middle, max(steps), min(steps)))
        ours = {one: middle / statistics.median(found[backbone, one]) for one in (OURS, OURS32)}
        times = f"{ours[OURS]:.2f} times, {ours[OURS32]:.2f} in float32"
        rows.append([backbone, name, *speeds, "" if name in ours else times])
    about = (
        f"SimCLR, batch {args.batch}, 2 views of {SIDE} pixels, {args.workers} workers; medians "
        f"over {len(next(iter(found.values())))} steps in {args.rounds} turns. Ours in "
        f"{precision()}; {hardware(torch.cuda.is_available())}, load "
        f"{os.getloadavg()[0]:.1f}, solo_ldm {__version__}, torch {torch.__version__}, "
        f"{date.today()}."
    )
    return Figures(heads, rows, about)


def precision() -> str:
    """Return what precision=bf16-mixed becomes on this machine."""
    return resolve_hardware(composed_of("simclr", None, ["precision=bf16-mixed"])).precision


def views() -> list[dict[str, Any]]:
    """Return the augmentations: ours of CIFAR without solarization, which lightly's lack."""
    cfg = composed_of("simclr", None, ["augmentations=cifar"])
    made: Any = OmegaConf.to_container(cfg.augmentations)
    for view in made:
        view["solarization"] = {"enabled": False, "prob": 0.0}
        view["crop_size"] = SIDE
    return made


def ours(args: argparse.Namespace, backbone: str, asked: str = "bf16-mixed") -> list[float]:
    """Train by the command."""
    clock, build = StepClock(), cast(Any, fit.build_trainer)
    own = [
        f"data.train_path={args.images}",
        "data.dataset=custom",
        "data.val_fraction=0.1",
        f"data.num_workers={args.workers}",
        f"backbone.name={backbone}",
        f"optimizer.batch_size={args.batch}",
        f"precision={asked}",
        f"method_kwargs.proj_hidden_dim={HIDDEN}",
        f"method_kwargs.proj_output_dim={OUTPUTS}",
        "max_epochs=1",
        "evaluation.protocols=[]",
        "evaluation.report=false",
        f"+trainer.limit_train_batches={args.steps + AHEAD}",
        "+trainer.limit_val_batches=1",
    ]
    cfg = composed_of("simclr", None, own)
    cfg.augmentations = views()

    def clocked(*given: Any) -> pl.Trainer:
        return build(*given[:-2], [clock, *given[-2]], given[-1])

    with patch.object(fit, "build_trainer", clocked):
        pretrain(cfg, PlainConsole(quiet=True))
    return clock.steps


def ours_in_float32(args: argparse.Namespace, backbone: str) -> list[float]:
    """Train by the command, in float32."""
    return ours(args, backbone, "32-true")


def solo_learns(args: argparse.Namespace, backbone: str) -> list[float]:
    """Train as solo-learn's main_pretrain.py does, by its simclr.yaml for CIFAR."""
    sys.path.insert(0, str(args.solo_learn))
    from solo_ldm.integrations.solo_learn import add_backbone

    add_backbone("shared", SIDE)
    from solo.args.pretrain import parse_cfg  # pyright: ignore[reportMissingImports]
    from solo.data import pretrain_dataloader as data  # pyright: ignore[reportMissingImports]
    from solo.methods import METHODS  # pyright: ignore[reportMissingImports]

    cfg: Any = OmegaConf.load(args.solo_learn / "scripts/pretrain/cifar/simclr.yaml")
    for key in ("defaults", "hydra", "sync_batchnorm"):
        cfg.pop(key)
    own = {
        "backbone": {"name": "shared", "kwargs": {"name": backbone}},
        "data": {"dataset": "custom", "train_path": str(args.images), "val_path": None},
        "augmentations": views(),
        "method_kwargs": {"proj_hidden_dim": HIDDEN, "proj_output_dim": OUTPUTS},
        "optimizer": {"batch_size": args.batch},
    }
    cfg = parse_cfg(OmegaConf.merge(cfg, own))
    model = METHODS["simclr"](cfg).to(memory_format=torch.channels_last)
    crops = [
        data.NCropAugmentation(data.build_transform_pipeline("custom", view), view.num_crops)
        for view in cfg.augmentations
    ]
    images = data.prepare_datasets(
        "custom", data.FullTransformPipeline(crops), train_data_path=str(args.images)
    )
    loader = data.prepare_dataloader(images, args.batch, args.workers)
    return trained(model, loader, args)


class LightlysSimCLR(pl.LightningModule):
    """Lightly's head and loss on a network, by SGD, as in its example for Lightning."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        network: Any = create_backbone(backbone, SIDE)
        self.backbone = network
        self.head = SimCLRProjectionHead(network.num_features, HIDDEN, OUTPUTS)
        self.criterion = NTXentLoss(TEMPERATURE)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the loss of two views."""
        first, second = (self.head(self.backbone(view)) for view in batch[0])
        loss = self.criterion(first, second)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser of the example."""
        return torch.optim.SGD(self.parameters(), lr=0.06)


def lightlys(args: argparse.Namespace, backbone: str) -> list[float]:
    """Train as lightly's example for Lightning does."""
    from lightly.data import LightlyDataset
    from lightly.transforms.simclr_transform import SimCLRTransform

    (view,) = views()
    jitter = view["color_jitter"]
    transform: Any = SimCLRTransform(
        input_size=SIDE,
        cj_prob=jitter["prob"],
        cj_bright=jitter["brightness"],
        cj_contrast=jitter["contrast"],
        cj_sat=jitter["saturation"],
        cj_hue=jitter["hue"],
        min_scale=view["rrc"]["crop_min_scale"],
        random_gray_scale=view["grayscale"]["prob"],
        gaussian_blur=view["gaussian_blur"]["prob"],
        hf_prob=view["horizontal_flip"]["prob"],
    )
    images: Any = LightlyDataset(str(args.images), transform=transform)
    loader = torch.utils.data.DataLoader(
        images, args.batch, shuffle=True, drop_last=True, num_workers=args.workers
    )
    return trained(LightlysSimCLR(backbone), loader, args)


def trained(model: pl.LightningModule, loader: Any, args: argparse.Namespace) -> list[float]:
    """Train by Lightning's trainer as it is, and return the seconds of the steps."""
    clock = StepClock()
    with without_lightnings_advice():
        trainer = pl.Trainer(
            max_epochs=1,
            limit_train_batches=args.steps + AHEAD,
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, loader)
    return clock.steps


if __name__ == "__main__":
    main()
