"""Backbones of any origin: runs, checkpoints, safetensors, solo-learn's, timm's, published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import timm
from torch import Tensor, nn

from solo_ldm.backbones import SOLO_LEARN_NAMES, create_backbone, load_weights, read_backbone
from solo_ldm.backbones.stored import check_values
from solo_ldm.backbones.trial import WEIGHTS
from solo_ldm.weights import published
from solo_ldm.weights.checkpoint import (
    backbone_weights,
    epochs_of,
    online_classifier,
    read_checkpoint,
    stored_args,
)
from solo_ldm.weights.published.download import quiet_hub, reason
from solo_ldm.weights.published.manifest import find_entry
from solo_ldm.weights.training_args import (
    Network,
    args_beside,
    channels,
    describe,
    normalisation_of,
    pixel_range_of,
)

Kind = Literal[
    "run", "checkpoint", "safetensors", "solo-learn", "zoo", "hf-hub", "timm", "untrained"
]

CHECKPOINTS = (".ckpt", ".pth", ".pt")


@dataclass(frozen=True)
class Pretrained:
    """A backbone ready for features, and what is known of it.

    Args:
        backbone: in evaluation mode; maps normalised images (B, 3, H, W) to features (B, F).
        built_by: the arguments of `create_backbone` that build the network.
        kind: what it was read from.
        source: what was given.
        image_size: side of the images in pixels that it is used with.
        mean: of the channels R, G, B by which its images are normalised; None: not known, use the
            data's.
        std: of the channels R, G, B, likewise.
        epoch: number of epochs it was trained for; None where not known.
        method: that trained it; None where not known.
        classifier: the online classifier, where the source holds one.
        weights: file that the weights were read from; None if they are timm's or untrained.
        args: configuration of the training, where it is known.
        pixel_range: what was black and white in its images, where they were deeper than 8 bits.
    """

    backbone: nn.Module
    built_by: Mapping[str, Any]
    kind: Kind
    source: str
    image_size: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    epoch: int | None = None
    method: str | None = None
    classifier: nn.Linear | None = None
    weights: Path | None = None
    args: Mapping[str, Any] | None = None
    pixel_range: tuple[float, ...] | None = None

    @property
    def num_channels(self) -> int:
        """The number of channels of its images."""
        return self.built_by.get("in_chans", 3)

    @property
    def backbone_name(self) -> str:
        """A timm name, or one of solo-learn's."""
        return self.built_by["name"]


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
            folder that solo-learn wrote); a backbone.safetensors; zoo:NAME, hf-hub:OWNER/NAME or
            timm:NAME for published weights, which are downloaded once; untrained:NAME for a
            baseline.
        backbone_name: for a checkpoint without an args.json that names the network.
        backbone_kwargs: further arguments of the network, likewise.
        image_size: side of the images in pixels; None takes that of the training.

    Returns:
        The backbone and what is known of it.

    Raises:
        FileNotFoundError: in one line: there is no such file or folder.
        ValueError: in one line: a file that holds something else, a network that does not fit, or
            a download that failed.
    """
    text, path = str(source), Path(source).expanduser()
    prefix, _, name = text.partition(":")
    wanted = Network(backbone_name, dict(backbone_kwargs or {}), image_size)
    if prefix in ("timm", "untrained"):
        return _from_timm(name, prefix == "timm", text, wanted)
    if published.is_published(text):
        return _from_published(text, wanted)
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
            f"{source} is no file or folder: give timm:{source} for timm's weights (a download), "
            f"or untrained:{source} for its initialisation"
        )
    return f"no file or folder at {source}: give a run folder, a checkpoint, timm:NAME or zoo:NAME"


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
    backbone, metadata = read_backbone(path, wanted.image_size)
    built_by, about = metadata["backbone"], metadata.get("about", {})
    normalisation = metadata.get("normalisation", {})
    if wanted.name is not None and wanted.name != built_by["name"]:
        raise ValueError(
            f"{path} holds {built_by['name']}, got backbone.name={wanted.name}; leave it out"
        )
    args = args_beside(path)
    # Older files lack these facts of the training; the run's args.json has them.
    training = args if args and path.name == "backbone.safetensors" else {}
    classifier = None
    last = path.parent / "checkpoints" / "last.ckpt"
    if kind == "run" and last.is_file():
        classifier = online_classifier(read_checkpoint(last).get("state_dict", {}), last)
    return Pretrained(
        backbone,
        built_by,
        kind,
        source,
        image_size=wanted.image_size or built_by["image_size"],
        mean=channels(normalisation.get("mean")),
        std=channels(normalisation.get("std")),
        pixel_range=channels(normalisation.get("range")),
        epoch=about.get("epoch", training.get("max_epochs")),
        method=about.get("method", training.get("method")),
        classifier=classifier,
        weights=path,
        args=args,
    )


def _from_checkpoint(
    path: Path, source: str, wanted: Network, kind: Kind | None = None
) -> Pretrained:
    checkpoint = read_checkpoint(path)
    state = checkpoint.get("state_dict", {})
    weights = backbone_weights(state)
    if not weights:
        raise ValueError(
            f"{path} holds no backbone: expected a state_dict with keys backbone.* or encoder.*"
        )
    # These callbacks are ours alone.
    callbacks = checkpoint.get("callbacks")
    ours = isinstance(callbacks, dict) and {"TrainingClock", "KeepLastAndBest"} & callbacks.keys()
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
    for key in WEIGHTS:  # those that training began with
        built_by.pop(key, None)
    backbone = create_backbone(**built_by, crop_sizes=[wanted.image_size or size])
    load_weights(backbone, weights, path)
    # solo-learn normalises images of one data set differently in pretraining and evaluation.
    mean, std = normalisation_of(args, by_dataset=kind != "solo-learn")
    return Pretrained(
        backbone.eval(),
        built_by,
        kind,
        source,
        image_size=wanted.image_size or size,
        mean=mean,
        std=std,
        pixel_range=pixel_range_of(args),
        epoch=epochs_of(checkpoint),
        method=args.get("method") if args else None,
        classifier=online_classifier(state, path),
        weights=path,
        args=args,
    )


def _stem(name: str, weights: Mapping[str, Tensor], kind: Kind) -> str | None:
    kernel = weights.get("conv1.weight")
    if kernel is None or kernel.ndim != 4 or not name.startswith("resnet"):
        return None
    if kernel.shape[-1] != 3:
        return "large"
    return "solo-learn" if kind == "solo-learn" else "small"


def _from_published(source: str, wanted: Network) -> Pretrained:
    kind: Kind = "hf-hub" if source.startswith(published.HUB) else "zoo"
    if kind == "zoo" and (entry := find_entry(source)).kind != "backbone":
        raise ValueError(f"{source} is no image backbone but {entry.kind}: {entry.headline}")
    read = _from_safetensors(published.files(source) / published.WEIGHTS, source, kind, wanted)
    return replace(read, args=published.configuration(source))


def _from_timm(name: str, trained: bool, source: str, wanted: Network) -> Pretrained:
    info = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    size = wanted.image_size or (info.input_size[-1] if info is not None else 224)
    built_by = {"name": name, "image_size": size, **wanted.kwargs}
    if trained:
        # timm's weights have timm's stem, whatever the size of the images.
        built_by.setdefault("stem", "large")
    backbone = create_backbone(**built_by)  # raises for unknown names and arguments
    if not trained:
        return Pretrained(backbone.eval(), built_by, "untrained", source, size, epoch=0)
    try:
        with quiet_hub():
            backbone = create_backbone(**built_by, pretrained=True)
    except Exception as error:  # of the network, the hub, the disk or timm
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ValueError(
            f"{source}: the weights could not be fetched ({reason(cause)}); check the connection, "
            "or give a file"
        ) from None
    check_values(backbone.state_dict(), source)
    mean, std = (None, None) if info is None else (channels(info.mean), channels(info.std))
    if wanted.kwargs.get("in_chans", 3) != 3:
        mean = std = None  # timm's are of R, G and B
    return Pretrained(backbone.eval(), built_by, "timm", source, size, mean, std)
