"""Image backbones in the zoo: loading with their preprocessing, scoring, publishing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from solo_ldm.backbones import SMALL_IMAGE
from solo_ldm.backbones.small_stem import small_stem_name
from solo_ldm.config.schema import as_object
from solo_ldm.data.augment.photometric import Normalise
from solo_ldm.data.augment.transforms import evaluation_view
from solo_ldm.data.config import DataConfig, ViewSpec
from solo_ldm.data.datasets.registry import find_dataset
from solo_ldm.data.module import ImageDataModule, Split
from solo_ldm.data.sources.decoding import as_picture
from solo_ldm.data.sources.images import ArrayImages, FileImages
from solo_ldm.data.sources.parts import opened
from solo_ldm.evaluation.features import extract_features
from solo_ldm.evaluation.protocols import PROTOCOLS
from solo_ldm.evaluation.scores import evaluate
from solo_ldm.run.configuration import complete
from solo_ldm.run.folder import identity
from solo_ldm.weights.export import weights_digest, write_backbone
from solo_ldm.weights.pretrained import Pretrained, load_pretrained
from solo_ldm.weights.published.entry import CONFIG, WEIGHTS
from solo_ldm.weights.published.manifest import read_yaml
from solo_ldm.zoo.kinds import DataNotHereError, Kind, Progress, Score, no_progress, with_data

_BATCH = 256
_SPLITS: tuple[Split, ...] = ("train", "val")
# Another machine may classify this many test images differently, or this share of them: those with
# ties to within rounding.
_IMAGES, _SHARE = 2, 0.002


class ZooBackbone(nn.Module):
    """A published backbone: images in, features out.

    Args:
        name: of the entry.
        pretrained: the network and the normalisation of its images.

    Raises:
        ValueError: weights without the normalisation of their images.
    """

    def __init__(self, name: str, pretrained: Pretrained) -> None:
        super().__init__()
        if pretrained.mean is None or pretrained.std is None:
            raise ValueError(f"zoo:{name} does not say how its images are normalised")
        self.name = name
        self.backbone = pretrained.backbone
        self.image_size = pretrained.image_size
        self.mean, self.std = pretrained.mean, pretrained.std
        self.num_features = int(getattr(pretrained.backbone, "num_features", 0))
        # Three channels need not be asked for: see `read_image`.
        self.num_channels = None if pretrained.num_channels == 3 else pretrained.num_channels
        low, high = pretrained.pixel_range or (0, 0)
        self.pixel_range = None if pretrained.pixel_range is None else (low, high)
        self._normalise = Normalise(self.mean, self.std)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, num_features) of preprocessed images (B, C, H, W)."""
        return self.backbone(images)

    def preprocess(self, images: Any) -> Tensor:
        """Turn images into what `forward` takes, as in the evaluation that scored the model.

        Args:
            images: a path, a Pillow image, an array (H, W) or (H, W, C), or a list of these; pixels
                deeper than 8 bits where it was trained on such.

        Returns:
            (B, C, image_size, image_size), normalised, on the device of the backbone.

        Raises:
            ValueError: something that is no image, or a file that cannot be read.
        """
        many = images if isinstance(images, (list, tuple)) else [images]
        pictures = [as_picture(one, self.pixel_range, self.num_channels) for one in many]
        pixels = [np.asarray(evaluation_view(one, self.image_size)) for one in pictures]
        if not pixels:
            raise ValueError("images: expected at least one, got none")
        batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        batch = batch.to(torch.float32, memory_format=torch.contiguous_format)
        return self._normalise(batch).to(next(self.backbone.parameters()).device)

    @torch.no_grad()
    def features(self, images: Any) -> Tensor:
        """Return features (B, num_features) of images as they are, see `preprocess`."""
        many = images if isinstance(images, (list, tuple)) else [images]
        parts = [many[i : i + _BATCH] for i in range(0, len(many), _BATCH)]
        return torch.cat([self(self.preprocess(part)) for part in parts or [many]])


class BackboneKind(Kind):
    """Backbones of images, as `solo-ldm pretrain` leaves them."""

    command = "pretrain"
    library = "timm"
    data_paths = ("train_path", "val_path")

    def identity(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a run's configuration that decides what it computes."""
        return identity(complete(OmegaConf.create(dict(args))))

    def facts(self, args: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of an entry that a run records."""
        axes = ("latent", "entropy", "over", "predictor", "target")
        same = ("headline", "dataset", "backbone", "image_size", "batch_size")
        cell = {name: results.get(name) for name in axes}
        about = {name: results[name] for name in same}
        return {"cell": cell, **about, "scored_on": results.get("scored_on")}

    def run_scores(self, results: Mapping[str, Any]) -> dict[str, Score]:
        """Return the top-1 accuracies, trained and untrained."""
        return {
            name: Score("top1", one["top1"], one["num_test"], one["untrained_top1"])
            for name, one in results["results"].items()
        }

    def weights_digest(self, run: Path) -> str | None:
        """Return the hash by which `solo-ldm linear` names the weights that it evaluates."""
        return weights_digest(load_pretrained(run).backbone)

    def write_weights(self, run: Path, path: Path, half: bool) -> None:
        """Write the backbone with timm's keys."""
        trained = load_pretrained(run)
        about = {"method": trained.method, "epoch": trained.epoch}
        origin = (trained.built_by, trained.mean, trained.std, about)
        stored_as = "float16" if half else None
        write_backbone(path, trained.backbone, *origin, stored_as, trained.pixel_range)

    def measure(
        self, folder: Path, data: Mapping[str, Any], progress: Progress = no_progress
    ) -> tuple[dict[str, Score], str]:
        """Return scores on frozen features, and the SHA-256 of the images and labels."""
        config = with_data(read_yaml(folder / CONFIG), data)
        # Labels are used even if the training did without.
        images = {key: value for key, value in config["data"].items() if key != "no_labels"}
        images = as_object(DataConfig, images, "data.")
        try:
            find_dataset(images.dataset).check(images)
        except FileNotFoundError as error:
            if data:
                raise
            raise DataNotHereError(f"the data of zoo:{config['name']}: {error}") from None
        trained = load_pretrained(folder / WEIGHTS)
        view = ViewSpec(trained.image_size, 1, mean=trained.mean, std=trained.std)
        # On the CPU, where the arithmetic is the same for all.
        module = ImageDataModule(
            images,
            [view],
            _BATCH,
            config["seed"],
            torch.device("cpu"),
        )
        train, test = (
            extract_features(
                trained.backbone,
                module.evaluation_dataloader(split),
                progress=partial(progress, f"features of the {split} images"),
            )
            for split in _SPLITS
        )
        count = len(test.labels)
        tolerance = max(_IMAGES / count, _SHARE)
        scores = {}
        for number, name in enumerate(PROTOCOLS):
            progress(name, number, len(PROTOCOLS))
            top1 = evaluate(name, train, test).top1
            scores[name] = Score("top1", top1, count, tolerance=tolerance)
        return scores, _hash_of(module)

    def load(self, name: str, folder: Path) -> ZooBackbone:
        """Return the backbone with its preprocessing."""
        return ZooBackbone(name, load_pretrained(folder / WEIGHTS)).eval()

    def hub_config(self, folder: Path) -> dict[str, Any]:
        """Return timm's description of a model on the hub."""
        trained = load_pretrained(folder / WEIGHTS)
        built_by = dict(trained.built_by)
        name, size = built_by.pop("name"), built_by.pop("image_size")
        stem = built_by.pop("stem", None) or ("small" if size <= SMALL_IMAGE else "large")
        return {
            "architecture": (stem == "small" and small_stem_name(name)) or name,
            "num_classes": 0,
            "num_features": int(getattr(trained.backbone, "num_features", 0)),
            "pretrained_cfg": {
                "input_size": [trained.num_channels, size, size],
                "fixed_input_size": False,
                "interpolation": "bicubic",
                "mean": list(trained.mean or ()),
                "std": list(trained.std or ()),
                "num_classes": 0,
                "license": "mit",
            },
            "model_args": built_by,
        }


def _hash_of(module: ImageDataModule) -> str:
    """Hash labels and images, in their order, whatever their files are called."""
    digest = hashlib.sha256()
    for source in filter(None, map(module.source, _SPLITS)):
        digest.update(np.ascontiguousarray(source.labels).tobytes())
        if isinstance(source, ArrayImages):
            digest.update(np.ascontiguousarray(source.images).tobytes())
        elif isinstance(source, FileImages):
            for index in range(len(source)):
                with opened(source.place(index)) as file:
                    digest.update(file.read())
    return digest.hexdigest()
