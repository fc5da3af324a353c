"""The whole method of a run, for evaluations that need more than its backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from solo_ldm.data.choice import asks_for_test
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.methods import find_method
from solo_ldm.run.configuration import complete, for_method, read_data
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import SINGLE_DEVICE, Hardware, resolve_hardware
from solo_ldm.weights.checkpoint import epochs_of, read_checkpoint, whole_state
from solo_ldm.weights.training_args import args_beside


@dataclass(frozen=True)
class TrainedMethod:
    """A method as a run trained it.

    Args:
        folder: of the run.
        cfg: the run's configuration, on one device.
        method: in evaluation mode, on the device of `hardware`.
        data: of the run.
        hardware: that it is evaluated on.
        epoch: number of epochs that it was trained for.
    """

    folder: RunFolder
    cfg: DictConfig
    method: Any
    data: ImageDataModule
    hardware: Hardware
    epoch: int

    def untrained(self) -> Any:
        """Return the method as the run began, from its seed: in evaluation mode, on the device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.cfg.seed)
            method = _build(self.cfg, self.data, self.hardware)
        return method.to(self.hardware.device).eval()

    def held_out(self) -> ImageSource:
        """Return the held-out images; a ValueError in one line where there are none."""
        source = self.data.source("val")
        if source is None or not len(source.labelled):
            raise ValueError(
                f"{self.cfg.data.dataset}: there are no held-out images; the run needs labelled "
                "images with data.val_fraction or data.val_path"
            )
        return source

    def origin(self) -> dict[str, Any]:
        """Return what results.json says of the run."""
        return {
            "run": str(self.folder.path),
            "name": self.cfg.name,
            "method": self.cfg.method,
            "dataset": self.cfg.data.dataset,
            "scored_on": self.data.scored_on,
            "epoch": self.epoch,
        }


def load_method(
    run: str | Path,
    accelerator: str = "auto",
    data: Mapping[str, Any] | None = None,
    places: Mapping[str, Any] | None = None,
) -> TrainedMethod:
    """Build the method of a run and load its last checkpoint, without running code from it.

    Args:
        run: the run's folder, finished or not.
        accelerator: auto, cpu or gpu.
        data: keys of data; held_out at None or 0 takes the test images in place of those that the
            run held out.
        places: keys of data that take the place of the run's own.

    Raises:
        FileNotFoundError: in one line: no such folder, or no checkpoint in it.
        ValueError: in one line: a configuration or a checkpoint that does not fit.
    """
    folder = RunFolder(Path(run).expanduser())
    if not folder.path.is_dir():
        raise FileNotFoundError(f"no run at {run}: give the folder that holds its args.json")
    checkpoint = read_checkpoint(folder.last)
    args = args_beside(folder.last)
    if args is None:
        raise FileNotFoundError(f"{run} holds no args.json: give the folder of one run")
    performance = {**args.get("performance", {}), "compile": False}
    one = {**SINGLE_DEVICE, "accelerator": accelerator, "performance": performance}
    own = {"data": {**args.get("data", {}), **(places or {})}}
    cfg = complete(OmegaConf.create({**args, **one, **own}))
    if cfg.data.held_out and asks_for_test(data or {}):
        cfg.data.score_test = True
    hardware = resolve_hardware(cfg, launched=False)
    images = read_data(cfg, hardware)
    method = _build(cfg, images, hardware)
    try:
        method.load_state_dict(whole_state(checkpoint, folder.last))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{folder.last} is not of the method in args.json ({reason})") from None
    epochs = epochs_of(checkpoint) or 0
    return TrainedMethod(folder, cfg, method.to(hardware.device).eval(), images, hardware, epochs)


def _build(cfg: DictConfig, images: ImageDataModule, hardware: Hardware) -> Any:
    kind = find_method(cfg.method)
    return kind(for_method(cfg, images, hardware), **kind.describe(cfg).built_with)
