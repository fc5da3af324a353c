"""What a linear evaluation works on: weights, images as the weights take them, features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule, Split
from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware
from solo_ldm.weights.pretrained import Pretrained

LARGEST_BATCH = 256
SMALLEST_BATCH = 16
STEPS_OF_AN_EPOCH = 20


@dataclass(frozen=True)
class Evaluation:
    """A linear evaluation before its score.

    Args:
        cfg: the completed configuration.
        pretrained: the backbone, and what is known of it.
        data: its images, at its size and normalised as in its training.
        hardware: what it computes on.
        sha256: of the weights that are evaluated.
        folder: its folder.
    """

    cfg: DictConfig
    pretrained: Pretrained
    data: ImageDataModule
    hardware: Hardware
    sha256: str
    folder: RunFolder


def load_images(
    cfg: DictConfig, pretrained: Pretrained, seed: int, device: torch.device
) -> ImageDataModule:
    """Return the labelled images as the backbone takes them.

    The configuration's crop_size, mean and std go before the backbone's, those before the data
    set's.

    Args:
        cfg: the completed configuration.
        pretrained: the backbone, and what is known of it.
        seed: of the order and of the augmentations.
        device: that the images are used on.

    Raises:
        ValueError: in one line: more than one view an image, or data that do not make sense.
        FileNotFoundError: in one line: data that are not there.
    """
    chosen: Any = OmegaConf.to_container(cfg.data)
    wanted = chosen.pop("augmentations")
    views: Any = OmegaConf.to_container(cfg.augmentations)
    if len(views) != 1 or views[0].get("num_crops") != 1:
        raise ValueError(
            "augmentations: a linear evaluation takes one view with num_crops: 1, got "
            f"{sum(view.get('num_crops', 1) for view in views)} crops of {len(views)} views"
        )
    view = {**views[0], "crop_size": pretrained.image_size}
    for key, own in (("mean", pretrained.mean), ("std", pretrained.std)):
        view[key] = wanted[key] or view.get(key) or (list(own) if own else None)
    batch_size = cfg.optimizer.batch_size or LARGEST_BATCH
    data = ImageDataModule(DataConfig(**chosen), [view], batch_size, seed, device)
    source = data.source("train")
    if source is not None and 0 < len(source.labelled) < len(source):
        data.keep("train", source.labelled)
    return data


def fitting_batch_size(num_images: int) -> int:
    """Return the batch size for a number of training images a process.

    A power of two, small enough for an epoch of some 20 steps and at most 256: after 100 epochs of
    5 steps a classifier is a point of accuracy short of where it would end.
    """
    steps = max(num_images // STEPS_OF_AN_EPOCH, SMALLEST_BATCH)
    return min(LARGEST_BATCH, 1 << (steps.bit_length() - 1))


def weights_digest(*parts: nn.Module) -> str:
    """Return the SHA-256 of the names, shapes and bytes of all weights, whatever their file."""
    digest = hashlib.sha256()
    for part in parts:
        for key, value in sorted(part.state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def extract(run: Evaluation, backbone: nn.Module, split: Split, console: Console) -> Features:
    """Return the features of the unaugmented images of a split, with a bar on a terminal."""
    loader = run.data.evaluation_dataloader(split)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"features of the {split} images", total=None)
        return extract_features(
            backbone,
            loader,
            run.hardware.device,
            lambda done, total: bar.update(task, completed=done, total=total),
        )


def predict(classifier: nn.Module, features: Features) -> Tensor:
    """Return the probabilities (M, C) that a classifier on the CPU gives, in float64."""
    with torch.no_grad():
        return torch.softmax(classifier(features.features).double(), dim=1)
