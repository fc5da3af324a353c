"""Configurations for solo-learn's scripts: our YAML in its terms, changed only in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from solo_ldm.config.arguments import check_keys
from solo_ldm.data.datasets.custom import CUSTOM
from solo_ldm.data.datasets.registry import DATASETS
from solo_ldm.weights.pretrained import CHECKPOINTS, Pretrained, load_pretrained

# Data sets that solo-learn's loaders read.
THEIR_DATASETS = ("cifar10", "cifar100", "stl10", "imagenet", "imagenet100", "custom")

# Operators that each of its views must have, with a probability, and their other settings.
_OPERATORS = {
    "color_jitter": ("brightness", "contrast", "saturation", "hue"),
    **dict.fromkeys(("grayscale", "gaussian_blur", "solarization", "equalization"), ()),
    "horizontal_flip": (),
}
_CROP_KEYS = ("enabled", "crop_min_scale", "crop_max_scale")
_VIEW_KEYS = ("rrc", *_OPERATORS, "crop_size", "num_crops", "mean", "std")


def for_pretraining(cfg: DictConfig, ours: bool) -> None:
    """Change a configuration of pretraining, in place, to what solo-learn's main_pretrain.py reads.

    One written for solo-learn stays as it is, except for hardware that is missing.

    Args:
        cfg: what Hydra composed, no longer a struct.
        ours: whether the method is ours; views are then checked, and `enabled: false` is kept.

    Raises:
        ValueError: in one line: a setting that solo-learn does not have.
    """
    OmegaConf.resolve(cfg)
    _common(cfg)
    if cfg.data.get("pair_match") is not None:
        raise ValueError(
            f"data.pair_match: expected null, as solo-learn has no pairs of images, got "
            f"{cfg.data.pair_match}; train by solo-ldm pretrain"
        )
    # It needs this key, and reads those of `trainer` from the top level.
    _default(cfg, "optimizer.classifier_lr", OmegaConf.select(cfg, "optimizer.lr"))
    for key, value in (cfg.get("trainer") or {}).items():
        cfg[key] = value
    if ours:
        views = [
            _view(OmegaConf.to_container(view), f"augmentations[{position}]")
            for position, view in enumerate(cfg.augmentations)
        ]
        size = views[0]["crop_size"]
        large = sum(view["num_crops"] for view in views if view["crop_size"] == size)
        cfg.augmentations = views
        if large != 2:
            raise ValueError(f"augmentations: expected two large crops for solo-learn, got {large}")


def for_linear(cfg: DictConfig) -> Pretrained:
    """Change a configuration of a linear evaluation, in place, to what main_linear.py reads.

    Args:
        cfg: what Hydra composed, no longer a struct.

    Returns:
        The weights that it names.

    Raises:
        ValueError: in one line: a setting that solo-learn does not have.
        FileNotFoundError: in one line: no such weights.
    """
    OmegaConf.resolve(cfg)
    _common(cfg)
    source = cfg.get("pretrained_feature_extractor")
    if not source:
        raise ValueError("missing key pretrained_feature_extractor: a run's folder or a checkpoint")
    for key in ("optimizer.batch_size", "optimizer.lr"):
        if not isinstance(OmegaConf.select(cfg, key), (int, float)):
            raise ValueError(f"{key}: solo-learn needs one number, as scripts/linear/ have it")
    if cfg.get("normalise_features"):
        raise ValueError("normalise_features: solo-learn has no such classifier; leave it out")
    _check_classes(cfg)
    path = _checkpoint(Path(str(source)).expanduser())
    name = OmegaConf.select(cfg, "backbone.name")
    kwargs = dict(OmegaConf.select(cfg, "backbone.kwargs") or {})
    weights = load_pretrained(path, backbone_name=name, backbone_kwargs=kwargs)
    cfg.pretrained_feature_extractor = str(path)
    _default(cfg, "backbone.name", weights.backbone_name)
    _default(cfg, "backbone.kwargs", {})
    if cfg.scheduler.name == "step":
        _default(cfg, "scheduler.lr_decay_steps", [round(s * cfg.max_epochs) for s in (0.6, 0.8)])
    return weights


def _check_classes(cfg: DictConfig) -> None:
    folder = Path(str(cfg.data.train_path))
    if cfg.data.dataset == "custom" and folder.is_dir():
        count = sum(entry.is_dir() for entry in folder.iterdir())
        if count < 5:
            raise ValueError(
                f"data.train_path={folder} holds {count} class folders: solo-learn's linear "
                "evaluation counts the best five and needs as many; use solo-ldm linear"
            )


def _common(cfg: DictConfig) -> None:
    _hardware(cfg)
    if DATASETS.get(cfg.data.dataset) is CUSTOM:
        cfg.data.dataset = "custom"
    if cfg.data.dataset not in THEIR_DATASETS:
        raise ValueError(
            f"data.dataset={cfg.data.dataset}: solo-learn has {', '.join(THEIR_DATASETS)}; give "
            "data=custom and data.train_path=FOLDER, or train by solo-ldm pretrain"
        )
    if cfg.data.get("train_path") is None:
        raise ValueError("missing key data.train_path: the folder of the training images")
    if not DATASETS[cfg.data.dataset].paths:
        # One folder holds both splits; without a path solo-learn would look beside its code.
        _default(cfg, "data.val_path", cfg.data.train_path)
    if cfg.data.get("format", "auto") in ("auto", "torchvision"):
        cfg.data.format = "image_folder"
    if cfg.data.get("fraction") == 1:
        cfg.data.fraction = -1
    _default(cfg, "auto_resume.max_hours", 36)


def _hardware(cfg: DictConfig) -> None:
    """Write accelerator, devices, strategy and precision so that solo-learn and Lightning agree.

    solo-learn counts devices by `len`. Lightning takes a list of GPUs, but for CPUs only a number,
    which may be a string: n processes are n with leading zeros to n digits, "1", "02", "003".
    """
    accelerator = str(cfg.get("accelerator", "auto"))
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    devices: Any = cfg.get("devices", 1)
    if devices in ("auto", -1, "-1"):
        devices = max(1, torch.cuda.device_count()) if accelerator != "cpu" else 1
    if isinstance(devices, str):
        devices = int(devices)
    if accelerator == "cpu":
        count = devices if isinstance(devices, int) else len(devices)
        cfg.devices = f"{count:0{count}d}"
        cfg.sync_batchnorm = False  # which torch only has for GPUs
        if count == 1:
            cfg.strategy = "auto"
        if str(cfg.get("precision", "32")).startswith("16"):
            cfg.precision = "32-true"
    else:
        cfg.devices = list(range(devices)) if isinstance(devices, int) else devices
    cfg.accelerator = accelerator
    _default(cfg, "strategy", "auto")


def _view(view: Any, where: str) -> dict[str, Any]:
    """Return a view with every operator that solo-learn reads, off where it was not given."""
    view = {key: value for key, value in view.items() if value is not None}
    affine = view.pop("affine", {})
    if affine.get("prob") and affine.get("enabled", True):
        raise ValueError(
            f"{where}.affine: solo-learn's views have none; choose other augmentations, e.g. "
            "augmentations=cifar, or train by solo-ldm pretrain"
        )
    view["rrc"] = {"enabled": "rrc" in view, **view.get("rrc", {})}
    check_keys(where, view, _VIEW_KEYS)
    check_keys(f"{where}.rrc", view["rrc"], _CROP_KEYS)
    for name, settings in _OPERATORS.items():
        operator = dict(view.get(name, {}))
        if not operator.pop("enabled", True):
            operator["prob"] = 0.0
        operator.setdefault("prob", 0.0)
        if operator["prob"]:
            check_keys(f"{where}.{name}", operator, ("prob", *settings))
        view[name] = operator
    return view


def _checkpoint(path: Path) -> Path:
    """Return the checkpoint that a run's folder, ours or solo-learn's, holds."""
    if path.is_dir():
        for folder in (path / "checkpoints", path):
            found = sorted(folder.glob("*.ckpt"), key=lambda one: one.stat().st_mtime)
            if found:
                last = folder / "last.ckpt"
                return last if last.is_file() else found[-1]
    if not path.is_file() or path.suffix not in CHECKPOINTS:
        raise FileNotFoundError(
            f"pretrained_feature_extractor={path}: solo-learn reads {', '.join(CHECKPOINTS)}; give "
            "one, or the folder of a run that kept one"
        )
    return path


def _default(cfg: DictConfig, key: str, value: Any) -> None:
    """Set a key that is missing or null."""
    if OmegaConf.select(cfg, key) is None:
        OmegaConf.update(cfg, key, value, force_add=True)
