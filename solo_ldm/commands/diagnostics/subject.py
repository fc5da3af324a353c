"""What is diagnosed: a trained network and the same one untrained, with its images and views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor, nn

from solo_ldm.backbones import create_backbone
from solo_ldm.backbones.trial import WEIGHTS
from solo_ldm.commands.shared.inputs import (
    Evaluation,
    check_labelled,
    evaluation_folder,
    load_images,
    load_weights,
    other_images,
    spread,
)
from solo_ldm.commands.shared.views import view_specs
from solo_ldm.config.places import results_folder
from solo_ldm.data.choice import asks_for_test, choose_data
from solo_ldm.data.config import ViewSpec, parse_augmentations
from solo_ldm.files import sha256_of
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import single_device
from solo_ldm.weights.pretrained import Pretrained
from solo_ldm.weights.trained_method import TrainedMethod, load_method


class Encoder(nn.Module):
    """Features of images and, of a whole method, their latents beside them in one vector.

    Args:
        network: a backbone, or a method.
        whole: whether it is a method.
    """

    def __init__(self, network: nn.Module, whole: bool) -> None:
        super().__init__()
        self.network, self.whole = network, whole
        backbone: Any = network.backbone if whole else network
        #: Columns of the output.
        self.spaces = {"features": slice(0, backbone.num_features)}
        if whole:
            self.spaces["latents"] = slice(backbone.num_features, None)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, F), or (B, F + D) of features and latents."""
        if not self.whole:
            return self.network(images)
        found = self.network(images)
        return torch.cat([found["feats"], found["z"]], dim=1)


@dataclass(frozen=True)
class Subject:
    """A network and the same one untrained, and what they are measured with.

    Args:
        work: the weights, the images, the machine and the folder of the results.
        encoders: by "trained" and "untrained"; only the latter of untrained:NAME.
        specs: of two views of an image; none where it is not known how the training drew them.
        notices: a line for each thing that is left out.
    """

    work: Evaluation
    encoders: Mapping[str, Encoder]
    specs: Sequence[ViewSpec]
    notices: Sequence[str]


def prepare(cfg: DictConfig, console: Console) -> Subject:
    """Load the weights and open the data, so that what is wrong is found before the work."""
    hardware = single_device(cfg.accelerator)
    for notice in hardware.notices:
        console.print(notice.replace("training", "computing"), style="yellow", soft_wrap=True)
    torch.manual_seed(cfg.seed)
    pretrained = load_weights(cfg, None)
    trained_on = (pretrained.args or {}).get("data")
    known = trained_on if isinstance(trained_on, dict) else None
    config = choose_data(cfg.data, known)
    whole, notices = _method(cfg, pretrained)
    if whole is not None:
        data, hardware = whole.data, whole.hardware
    else:
        data = load_images(config, pretrained, cfg.batch_size, cfg.seed, hardware.device)
    num_train = check_labelled(data)
    for notice in (*data.notices, *other_images(pretrained, data)):
        console.print(notice, style="yellow", soft_wrap=True)
    if cfg.num_train_images is not None and cfg.num_train_images < num_train:
        source = data.source("train")
        assert source is not None, "it has labelled images"
        chosen = source.labelled[spread(num_train, cfg.num_train_images)]
        data.keep("train", np.asarray(chosen))
        notices.append(
            f"{cfg.num_train_images} of {num_train} training images: linear-features and the "
            "scores of images outside are those of fewer than the protocol has"
        )
    specs = _specs(cfg, pretrained, whole)
    if not specs:
        notices.append(
            "alignment, uniformity and LiDAR are left out: the views of the training are not "
            "known; data=NAME brings those of a data set"
        )
    folder = results_folder(
        cfg.output or evaluation_folder(pretrained, config.dataset, "diagnostics")
    )
    sha256 = None if pretrained.weights is None else sha256_of(pretrained.weights)
    work = Evaluation(cfg, pretrained, data, hardware, RunFolder(folder), sha256)
    encoders = _encoders(work, whole)
    for notice in notices:
        console.print(notice, style="yellow", soft_wrap=True)
    return Subject(work, encoders, view_specs(data, specs) if specs else (), notices)


def _method(cfg: DictConfig, pretrained: Pretrained) -> tuple[TrainedMethod | None, list[str]]:
    """Return the whole method of a run's folder, or None and a line that says why not."""
    source = str(cfg.pretrained_feature_extractor)
    folder = RunFolder(Path(source).expanduser())
    if pretrained.kind != "run":
        return None, ["latents are left out: only the folder of a run holds a whole method"]
    if not (folder.last.is_file() and folder.args.is_file()):
        return None, [f"latents are left out: {source} holds no checkpoints/last.ckpt or args.json"]
    own = (pretrained.args or {}).get("data", {})
    given = {key: value for key, value in cfg.data.items() if value is not None}
    if asks_for_test(given):
        del given["held_out"]
    if own.get("no_labels") or given.get("dataset", own.get("dataset")) != own.get("dataset"):
        return None, [
            "latents are left out: the run was trained on other images, or without labels"
        ]
    trained = load_method(source, cfg.accelerator, cfg.data, given)
    size, channels = trained.data.image_size, trained.data.num_channels
    with torch.inference_mode():
        blank = torch.zeros(1, channels, size, size, device=trained.hardware.device)
        if "z" not in trained.method(blank):
            return None, [f"latents are left out: {trained.cfg.method} gives none of single images"]
    return trained, []


def _specs(
    cfg: DictConfig, pretrained: Pretrained, whole: TrainedMethod | None
) -> Sequence[ViewSpec]:
    if whole is not None:
        return whole.data.views
    given: Any = (pretrained.args or {}).get("augmentations") or cfg.augmentations
    if not given:
        return ()
    given = OmegaConf.to_container(given) if OmegaConf.is_config(given) else given
    views = parse_augmentations(given)
    # As large as the network takes them, whatever the size of the data set's views.
    large = [view for view in views if view.crop_size == views[0].crop_size]
    return [replace(view, crop_size=pretrained.image_size) for view in large]


def _encoders(work: Evaluation, whole: TrainedMethod | None) -> dict[str, Encoder]:
    """Return the encoders by "trained" and "untrained", in evaluation mode on the device."""
    pretrained = work.pretrained
    networks: dict[str, nn.Module] = {"untrained": pretrained.backbone}
    if whole is not None:
        networks = {"trained": whole.method, "untrained": whole.untrained()}
    elif pretrained.kind != "untrained":
        built_by = {key: value for key, value in pretrained.built_by.items() if key not in WEIGHTS}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(work.cfg.seed)
            networks = {"trained": pretrained.backbone, "untrained": create_backbone(**built_by)}
    encoders = {name: Encoder(one, whole is not None) for name, one in networks.items()}
    return {name: one.to(work.hardware.device).eval() for name, one in encoders.items()}
