"""Scores of a method that encodes images and texts, on held-out images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.protocols import TEXTS
from solo_ldm.evaluation.scores import score_predictions
from solo_ldm.evaluation.texts import retrieval, zero_shot

_LAYER = "latents of images and of texts"
ZERO_SHOT, RETRIEVAL = TEXTS


class Latents(nn.Module):
    """The latents that a method makes of images.

    Args:
        method: whose forward returns them as "z".
    """

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, D) of images (B, C, H, W)."""
        return self.method(images)["z"]


def image_latents(method: Any, data: Any, device: torch.device) -> Features:
    """Return the latents of the held-out images that can be read, and their labels."""
    loader = data.sample_dataloader(len(data.source("val")), "val")
    return extract_features(Latents(method), loader, device)


def score_texts(
    methods: Mapping[str, Any],
    data: Any,
    device: torch.device,
    protocols: Sequence[str],
    prompts: Sequence[str],
    class_names: Sequence[str] | None,
    **record: Any,
) -> dict[str, dict[str, Any]]:
    """Score zero-shot classification and retrieval, beside the untrained network and chance.

    Args:
        methods: "trained" and "untrained", of `solo_ldm.methods.cross`.
        data: an `ImageDataModule`; without held-out images nothing is scored.
        device: to compute on.
        protocols: names in `TEXTS`, others are ignored.
        prompts: templates with {} in place of the name of a class.
        class_names: of the classes; None takes those of the data.
        **record: "epoch" and "preprocessing" of the record.

    Returns:
        By protocol; zero-shot as `Score.as_dict` with "chance" and "untrained_top1", retrieval as
        `solo_ldm.evaluation.texts.retrieval` with "untrained" beside each value.

    Raises:
        ValueError: in one line: another number of names than classes.
    """
    wanted = [name for name in protocols if name in TEXTS]
    if not wanted or not len(data.source("val") or ()):
        return {}
    names = [str(one) for one in class_names or ()] or [
        one.replace("_", " ") for one in data.classes
    ]
    if ZERO_SHOT in wanted and data.num_val_images and len(names) != data.num_classes:
        raise ValueError(
            f"class_names: expected {data.num_classes}, one a class of the data, got {len(names)}"
        )
    sides = {}
    for side, method in methods.items():
        method.to(device).eval()
        sides[side] = image_latents(method, data, device)
    scores: dict[str, dict[str, Any]] = {}
    if ZERO_SHOT in wanted and data.num_val_images:
        settings = {"prompts": list(prompts), "class_names": names}
        found = {}
        for side, method in methods.items():
            start = time.perf_counter()
            shares, labels = _classified(method, sides[side], prompts, names)
            about = {"protocol": ZERO_SHOT, "settings": settings, "feature_layer": _LAYER}
            about |= {"num_train": 0, "seconds": time.perf_counter() - start, **record}
            found[side] = score_predictions(shares, labels, **about)
        chance = {"chance": 1.0 / len(names), "untrained_top1": found["untrained"].top1}
        scores[ZERO_SHOT] = {**found["trained"].as_dict(), **chance}
    captions = data.source("val").captions
    if RETRIEVAL in wanted and captions is not None:
        texts, pairs = _pairs([captions[index] for index in data.readable("val")])
        found = {
            side: retrieval(
                sides[side].features, method.encode_texts(texts), pairs, on_plane=_plane(method)
            )
            for side, method in methods.items()
        }
        for direction, recalls in found["trained"].items():
            for name, one in recalls.items():
                one["untrained"] = found["untrained"][direction][name]["value"]
        about = {"num_images": len(sides["trained"].labels), "num_texts": len(texts)}
        scores[RETRIEVAL] = {**about, **found["trained"], "feature_layer": _LAYER, **record}
    return scores


def unscored(protocols: Sequence[str], data: Any, unused: Sequence[str] = ()) -> list[str]:
    """Return a line for each protocol that has no images to score, with keys that it leaves."""
    lines = []
    if ZERO_SHOT in protocols and not data.num_val_images:
        left = f"; not used: {', '.join(unused)}" if unused else ""
        lines.append(f"zero-shot: not scored, as there are no held-out images with labels{left}")
    source = data.source("val")
    if RETRIEVAL in protocols and (source is None or source.captions is None):
        lines.append("retrieval: not scored, as there are no held-out images with captions")
    return lines


def recalls_in_words(score: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a line of each direction of a score of retrieval, with what it is about."""
    lines = []
    for direction in ("image_to_text", "text_to_image"):
        recalls = score[direction]
        values = " ".join(f"{one['value']:.3f}" for one in recalls.values())
        at = ", ".join(name.partition("@")[2] for name in recalls)
        first = next(iter(recalls.values()))
        chance = " ".join(f"{one['chance']:.3f}" for one in recalls.values())
        untrained = " ".join(f"{one['untrained']:.3f}" for one in recalls.values())
        told = f"recall at {at} (chance {chance}; untrained {untrained}; {first['num_queries']} "
        told += "images)" if direction == "image_to_text" else "texts)"
        lines.append((direction.replace("_", " "), f"{values} {told}"))
    return lines


def nothing_to_score(protocols: Sequence[str], data: Any) -> str:
    """Say why `score_texts` has no score, and what would have one."""
    kind = "labels" if ZERO_SHOT in protocols else "captions"
    count = len(data.source("val") or ())
    got = f"{count} without" if count else "none; the run needs data.val_fraction or data.val_path"
    if count and RETRIEVAL not in protocols:
        got += "; protocols=[retrieval] needs captions alone"
    return f"expected held-out images with {kind}, got {got}"


def _classified(
    method: Any, images: Features, prompts: Sequence[str], names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return the probabilities of classes for the labelled images, and their labels."""
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    latents = method.encode_texts(texts).reshape(len(names), len(prompts), -1)
    latent = method.objective.latent
    precision = float(getattr(latent, "prediction_precision", 1.0))
    factor = latent.precision_factor()
    precision *= 1.0 if factor is None else float(factor.detach())
    labelled = images.labels >= 0
    shares = zero_shot(images.features[labelled], latents, precision, _plane(method))
    return shares, images.labels[labelled]


def _plane(method: Any) -> bool:
    return method.objective.latent.support == "plane"


def _pairs(captions: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """Return the texts that differ, and which image each belongs to, (K, 2)."""
    texts = list(dict.fromkeys(text for own in captions for text in own))
    numbers = {text: number for number, text in enumerate(texts)}
    pairs = [(image, numbers[text]) for image, own in enumerate(captions) for text in own]
    return texts, torch.tensor(pairs)
