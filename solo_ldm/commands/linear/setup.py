"""What a linear evaluation works on: weights, and images as the weights take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from solo_ldm.commands.shared.inputs import (
    Evaluation,
    check_labelled,
    load_images,
    load_weights,
    other_images,
)
from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.protocols import ONLINE, TRAINED
from solo_ldm.run.data_identity import identity_of_images
from solo_ldm.run.folder import choose_run, identity
from solo_ldm.run.hardware import Hardware
from solo_ldm.weights.export import weights_digest
from solo_ldm.weights.pretrained import Pretrained

LARGEST_BATCH = 256
SMALLEST_BATCH = 16
STEPS_PER_EPOCH = 20

# The weights themselves identify a run, not where they lie.
_NOT_IDENTITY = ("pretrained_feature_extractor", "pretrain_method", "backbone")


def set_up(cfg: DictConfig, hardware: Hardware, say: Callable[[str], object]) -> Evaluation:
    """Load weights and data, and check that they fit each other and the protocol.

    A batch size that the configuration leaves open is filled in. `say` takes lines to print.

    Raises:
        ValueError: in one line: weights, data or settings of the optimiser that do not fit.
        FileNotFoundError: in one line: weights or data that are not there.
    """
    pretrained = load_weights(cfg, cfg.data.augmentations.crop_size)
    data = labelled_images(cfg, pretrained, hardware.device, say)
    trains = cfg.protocol in TRAINED
    if cfg.optimizer.batch_size is None and trains:
        cfg.optimizer.batch_size = fitting_batch_size(
            data.num_train_images // hardware.num_processes
        )
        data.batch_size = cfg.optimizer.batch_size
    if data.num_classes < 2:
        raise ValueError(
            f"{cfg.data.dataset}: expected training images of at least 2 classes, got "
            f"{data.num_classes}; give class folders in data.train_path"
        )
    check_labelled(data)
    weights: list[nn.Module] = [pretrained.backbone]
    if trains:
        data.check_batches(hardware.num_processes)
    elif cfg.protocol == ONLINE:
        weights.append(online_classifier(pretrained, data))
    sha256 = weights_digest(*weights)
    content = {"weights": sha256, **identity(cfg, _NOT_IDENTITY)}
    folder = choose_run(cfg, "linear", content, identity_of_images(data), say)
    return Evaluation(cfg, pretrained, data, hardware, folder, sha256)


def labelled_images(
    cfg: DictConfig,
    pretrained: Pretrained,
    device: torch.device,
    say: Callable[[str], object] | None = None,
) -> ImageDataModule:
    """Return the labelled images as the backbone takes them.

    The configuration's crop_size, mean and std go before the backbone's, those before the data
    set's. `say` takes a line if the images have changed since the training.

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
    view = {**views[0], **{key: wanted[key] for key in ("mean", "std") if wanted[key]}}
    batch_size = cfg.optimizer.batch_size or LARGEST_BATCH
    data = load_images(DataConfig(**chosen), pretrained, batch_size, cfg.seed, device, view)
    if say is not None:
        for line in other_images(pretrained, data):
            say(line)
    source = data.source("train")
    if source is not None and 0 < len(source.labelled) < len(source):
        data.keep("train", source.labelled)
    return data


def fitting_batch_size(num_images: int) -> int:
    """Return the batch size for a number of training images a process.

    A power of two, small enough for an epoch of some 20 steps and at most 256: after 100 epochs of
    5 steps a classifier is a point of accuracy short of convergence.
    """
    steps = max(num_images // STEPS_PER_EPOCH, SMALLEST_BATCH)
    return min(LARGEST_BATCH, 1 << (steps.bit_length() - 1))


def online_classifier(pretrained: Pretrained, data: ImageDataModule) -> nn.Linear:
    """Return the classifier that was trained beside the backbone.

    Raises:
        ValueError: in one line: there is none, or it is of another number of classes.
    """
    if pretrained.classifier is None:
        raise ValueError(
            f"protocol=linear-online: {pretrained.source} holds no classifier; give a run's folder "
            "with its checkpoints, a checkpoint of a labelled run, or protocol=linear-features"
        )
    num_known = pretrained.classifier.out_features
    if num_known != data.num_classes:
        raise ValueError(
            f"protocol=linear-online: the classifier of {pretrained.source} knows {num_known} "
            f"classes, {data.data.dataset} has {data.num_classes}; set data.dataset to what it was "
            "trained on, or protocol=linear-features"
        )
    return pretrained.classifier
