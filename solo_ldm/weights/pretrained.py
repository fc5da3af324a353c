"""Backbones from anywhere: runs, checkpoints, safetensors, solo-learn's checkpoints, timm."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import timm
from safetensors import safe_open
from torch import Tensor, nn

from solo_ldm.backbones import SOLO_LEARN_NAMES, create_backbone, load_backbone, load_weights
from solo_ldm.weights.safe_load import read_checkpoint
from solo_ldm.weights.training_args import (
    Network,
    args_beside,
    channels,
    describe,
    normalisation_of,
    stored_args,
)

Kind = Literal["run", "checkpoint", "safetensors", "solo-learn", "zoo", "timm", "untrained"]

CHECKPOINTS = (".ckpt", ".pth", ".pt")


@dataclass(frozen=True)
class Pretrained:
    """A backbone ready for features, and what is known of it.

    Args:
        backbone: in evaluation mode; maps normalised images (B, 3, H, W) to features (B, F).
        backbone_name: a timm name, or one of solo-learn's.
        image_size: side of the images in pixels that it is used with.
        mean: of the channels R, G, B that normalises its images; None: unknown, use the data's.
        std: of the channels R, G, B.
        kind: what it was read from.
        source: what was given.
        epoch: epochs it was trained for; None where not known.
        method: that it was trained by; None where not known.
        classifier: the online classifier, where the source holds one.
        feature_layer: what the features are.
        built_by: the arguments of `create_backbone` that build the network.
        weights: the file that the weights were read from; None if they are timm's or untrained.
        args: the configuration it was trained by, where an args.json is beside it.
    """

    backbone: nn.Module
    backbone_name: str
    image_size: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    kind: Kind
    source: str
    epoch: int | None
    method: str | None
    classifier: nn.Linear | None
    feature_layer: str = "pooled backbone output"
    built_by: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    args: Mapping[str, Any] | None = None


def load_pretrained(
    source: str | Path,
    *,
    backbone_name: str | None = None,
    backbone_kwargs: Mapping[str, Any] | None = None,
    image_size: int | None = None,
) -> Pretrained:
    """Read a backbone from wherever its weights are, without running code from a file.

    Args:
        source: a run's folder, finished or not; a checkpoint of ours or of solo-learn (or the
            folder that solo-learn wrote); a backbone.safetensors; zoo:NAME or timm:NAME for
            published weights, which are downloaded once; untrained:NAME for a baseline.
        backbone_name: for a checkpoint without the args.json that says it.
        backbone_kwargs: further arguments of the network, likewise.
        image_size: side of the images in pixels; None takes that of the training.

    Returns:
        The backbone and what is known of it.

    Raises:
        FileNotFoundError: in one line: there is no such file or folder.
        ValueError: in one line: a file that holds something else, a network that does not fit, or
            a download that failed.
    """
    text = str(source)
    prefix, colon, name = text.partition(":")
    kwargs = dict(backbone_kwargs or {})
    if colon and prefix in ("timm", "untrained"):
        return _from_timm(name, prefix == "timm", text, kwargs, image_size)
    if colon and prefix == "zoo":
        return _from_zoo(name, text, Network(backbone_name, kwargs, image_size))
    path = Path(source).expanduser()
    wanted = Network(backbone_name, kwargs, image_size)
    if path.is_dir():
        return _from_folder(path, text, wanted)
    if not path.is_file():
        raise FileNotFoundError(_not_there(text))
    if path.suffix == ".safetensors":
        return _from_safetensors(path, text, "safetensors", wanted)
    if path.suffix in CHECKPOINTS:
        return _from_checkpoint(path, text, wanted)
    raise ValueError(
        f"{text}: expected a run folder, .safetensors or {', '.join(CHECKPOINTS)}, "
        f"got a file that ends in {path.suffix or 'nothing'}"
    )


def _not_there(source: str) -> str:
    if timm.is_model(SOLO_LEARN_NAMES.get(source, source)):
        return (
            f"{source} is no file or folder: say timm:{source} for timm's weights (a download), "
            f"or untrained:{source} for the network as it starts"
        )
    return f"no file or folder at {source}: give a run folder, a checkpoint, or timm:NAME"


def _from_folder(path: Path, source: str, wanted: Network) -> Pretrained:
    weights, last = path / "backbone.safetensors", path / "checkpoints" / "last.ckpt"
    if weights.is_file():
        return _from_safetensors(weights, source, "run", wanted)
    if last.is_file():
        return _from_checkpoint(last, source, wanted, "run")
    if checkpoints := list(path.glob("*.ckpt")):
        # solo-learn names them …-ep=99.ckpt; as text, 99 comes after 100.
        return _from_checkpoint(max(checkpoints, key=_order), source, wanted)
    raise FileNotFoundError(
        f"{source} holds no weights: expected backbone.safetensors, checkpoints/last.ckpt or a "
        ".ckpt in it; is it the folder of one run?"
    )


def _order(path: Path) -> tuple[int, str]:
    epoch = re.search(r"ep=(\d+)", path.name)
    return int(epoch[1]) if epoch else -1, path.name


def _from_safetensors(path: Path, source: str, kind: Kind, wanted: Network) -> Pretrained:
    backbone = load_backbone(path)
    with safe_open(path, framework="pt") as stored:
        metadata = {key: json.loads(text) for key, text in (stored.metadata() or {}).items()
                    if key in ("backbone", "normalisation", "about")}  # fmt: skip
    built_by, about = metadata["backbone"], metadata.get("about", {})
    normalisation = metadata.get("normalisation", {})
    if wanted.name is not None and wanted.name != built_by["name"]:
        raise ValueError(
            f"{path} holds {built_by['name']}, got backbone.name={wanted.name}; leave it out"
        )
    args = args_beside(path)
    # Older files say nothing of the training, but the run beside them does.
    training = args if args and path.name == "backbone.safetensors" else {}
    classifier = None
    last = path.parent / "checkpoints" / "last.ckpt"
    if kind == "run" and last.is_file():
        classifier = _classifier(read_checkpoint(last).get("state_dict", {}))
    return Pretrained(
        backbone=backbone,
        backbone_name=built_by["name"],
        image_size=wanted.image_size or built_by["image_size"],
        mean=channels(normalisation.get("mean")),
        std=channels(normalisation.get("std")),
        kind=kind,
        source=source,
        epoch=about.get("epoch", training.get("max_epochs")),
        method=about.get("method", training.get("method")),
        classifier=classifier,
        built_by=built_by,
        weights=path,
        args=args,
    )


def _from_checkpoint(
    path: Path, source: str, wanted: Network, kind: Kind | None = None
) -> Pretrained:
    checkpoint = read_checkpoint(path)
    state = checkpoint.get("state_dict")
    weights = _backbone_weights(state) if isinstance(state, dict) else {}
    if not isinstance(state, dict) or not weights:
        raise ValueError(
            f"{path} holds no backbone: expected a state_dict with keys backbone.* or encoder.*"
        )
    # These callbacks are ours alone.
    ours = bool({"TrainingClock", "KeepLastAndBest"} & checkpoint.get("callbacks", {}).keys())
    kind = kind or ("checkpoint" if ours else "solo-learn")
    args = args_beside(path) or stored_args(checkpoint)
    known = describe(args)
    name = wanted.name or known.name
    if name is None:
        raise ValueError(
            f"{path} does not say which network it holds, and there is no args.json beside it: "
            "set backbone.name, e.g. backbone.name=resnet18"
        )
    stem = _stem(name, weights, kind)
    size = known.image_size or wanted.image_size or (32 if stem not in (None, "large") else 224)
    built_by = {"name": name, "image_size": size, **known.kwargs, **wanted.kwargs}
    if stem is not None:
        built_by["stem"] = stem
    backbone = create_backbone(**built_by)
    load_weights(backbone, weights, path)
    # solo-learn normalises the views of one data set differently in its two stages.
    mean, std = normalisation_of(args, by_dataset=kind != "solo-learn")
    return Pretrained(
        backbone=backbone.eval(),
        backbone_name=name,
        image_size=wanted.image_size or size,
        mean=mean,
        std=std,
        kind=kind,
        source=source,
        epoch=_epoch(checkpoint),
        method=args.get("method") if args else None,
        classifier=_classifier(state),
        built_by=built_by,
        weights=path,
        args=args,
    )


def _backbone_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in ("backbone.", "encoder."):  # solo-learn's name, and its name of before 2022
        weights = {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix) and isinstance(value, Tensor)
        }
        if weights:
            return weights
    return {}


def _classifier(state: Mapping[str, Tensor]) -> nn.Linear | None:
    weight, bias = state.get("classifier.weight"), state.get("classifier.bias")
    if weight is None or bias is None:
        return None
    classifier = nn.Linear(weight.shape[1], weight.shape[0])
    classifier.load_state_dict({"weight": weight, "bias": bias})
    return classifier.eval()


def _stem(name: str, weights: Mapping[str, Tensor], kind: Kind) -> str | None:
    kernel = weights.get("conv1.weight")
    if kernel is None or kernel.ndim != 4 or not name.startswith("resnet"):
        return None
    if kernel.shape[-1] != 3:
        return "large"
    return "solo-learn" if kind == "solo-learn" else "small"


def _epoch(checkpoint: Mapping[str, Any]) -> int | None:
    try:
        loop = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        return int(loop["processed"])
    except (KeyError, TypeError):
        # Lightning counts from 0 and saves at the end of the epoch.
        epoch = checkpoint.get("epoch")
        return epoch + 1 if isinstance(epoch, int) else None


def _from_zoo(name: str, source: str, wanted: Network) -> Pretrained:
    # Imported when needed: the zoo itself reads backbones through this module.
    from solo_ldm import zoo
    from solo_ldm.zoo.kinds import WEIGHTS

    entry = zoo.entry(name)
    if entry.kind != "backbone":
        raise ValueError(f"{source} is no image backbone but {entry.kind}: {entry.headline}")
    read = _from_safetensors(zoo.files(name) / WEIGHTS, source, "zoo", wanted)
    return replace(read, args=zoo.configuration(name))


def _from_timm(
    name: str, trained: bool, source: str, kwargs: dict[str, Any], image_size: int | None
) -> Pretrained:
    info = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    size = image_size or (info.input_size[-1] if info is not None else 224)
    built_by = {"name": name, "image_size": size, **kwargs}
    if trained:
        # timm's weights have timm's stem, whatever the size of the images.
        built_by.setdefault("stem", "large")
    backbone = create_backbone(**built_by)  # unknown names and arguments are told here
    if trained:
        backbone = _download(name, built_by)
    mean, std = (info.mean, info.std) if trained and info is not None else (None, None)
    return Pretrained(
        backbone=backbone.eval(),
        backbone_name=name,
        image_size=size,
        mean=channels(mean),
        std=channels(std),
        kind="timm" if trained else "untrained",
        source=source,
        epoch=None if trained else 0,
        method=None,
        classifier=None,
        built_by=built_by,
    )


def _download(name: str, built_by: Mapping[str, Any]) -> nn.Module:
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # a line a retry; what matters is told once, below
    try:
        return create_backbone(**built_by, pretrained=True)
    except Exception as error:  # of the network, the hub, the disk or timm
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise ValueError(
            f"timm:{name}: the weights could not be fetched ({reason or type(error).__name__}); "
            "check the connection, or give a file"
        ) from None
    finally:
        hub.setLevel(level)
