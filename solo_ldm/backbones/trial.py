"""A timm model is tried on PyTorch's meta device, which holds no values, before it is built."""

from __future__ import annotations

import itertools
import os
import random
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from solo_ldm.backbones.video import OF_CLIPS

# What concerns weights; a trial needs none.
WEIGHTS = ("pretrained", "checkpoint_path")

# What was found out, by model, sizes and arguments.
_known: dict[tuple[str, tuple[int, ...], str], tuple[dict[str, Any], int]] = {}


def try_model(
    name: str, timm_name: str, sizes: Sequence[int], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """Find out what a model has to be told to take images of some sizes, and its width.

    Models whose name begins with vit_ or swin_ are told the size of the images. Others, which may
    have other weights then, are told where they do not take the images as they are.

    Args:
        name: of the model, for messages.
        timm_name: the same, of those that timm knows.
        sizes: sides of the images in pixels, those of the features that are kept first.
        kwargs: of timm.create_model, as the user gave them.

    Returns:
        The arguments to add, and F of the features (B, F). Random numbers are not drawn.

    Raises:
        ValueError: in one line: arguments that the model does not take, sizes that it does not
            take, more weights than the machine has memory, or no features (B, F).
    """
    sizes = (sizes[0], *sorted({*sizes} - {sizes[0]}))
    key = (timm_name, sizes, repr(sorted(kwargs.items())))
    if key not in _known:
        _known[key] = _try(name, timm_name, sizes, kwargs)
    return _known[key]


def _try(
    name: str, timm_name: str, sizes: Sequence[int], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    given = {key: value for key, value in kwargs.items() if key not in WEIGHTS}
    told: dict[str, Any] = {} if "img_size" in given else {"img_size": sizes[0]}
    first, second = (told, {}) if timm_name.startswith(("vit_", "swin_")) else ({}, told)
    ways = [first, second, {**told, "dynamic_img_size": True}]
    failed: dict[str, Exception] = {}
    with _nothing_drawn(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the model that is built for good warns as well
        for way in ways if len(sizes) > 1 else ways[:2]:
            try:
                return way, _width(timm_name, sizes, {**given, **way})
            except _NotBuiltError as error:
                failed.setdefault("built", error)
            except Exception as error:  # of any model: what a forward pass may raise
                failed["told" if way else "as it is"] = error
    if failed.keys() == {"built"}:
        reason = _line(failed["built"])
        what, got = f"backbone.kwargs: expected what timm's {name} takes, got ", str(dict(kwargs))
        if not kwargs:
            what, got = f"backbone.name={name} cannot be built", ""
        unknown = re.search(r"unexpected keyword argument '(\w+)'", reason)
        if unknown and (key := unknown[1]) in kwargs:
            got, reason = f"{key}={kwargs[key]}", f"{unknown[0]}; leave it out"
            reason += ", as clips need backbone.name=vit_video" if key in OF_CLIPS else ""
        raise ValueError(f"{what}{got}: {reason}")
    reason = _line(failed.get("told") or failed["as it is"])
    if len(sizes) > 1:
        _try(name, timm_name, sizes[:1], kwargs)  # it may be no crop of another size that fails
        raise ValueError(
            f"augmentations: expected crops that backbone.name={name} takes, got crop_size "
            f"{' and '.join(map(str, sizes))}: {reason}; take crops of one size, or another model"
        )
    raise ValueError(
        f"backbone.name={name}: expected a model that turns images of {sizes[0]} pixels into "
        f"vectors, got {reason}; choose another, other backbone.kwargs or another crop_size"
    )


class _NotBuiltError(Exception):
    """The model cannot be built with its arguments."""


def _width(timm_name: str, sizes: Sequence[int], kwargs: Mapping[str, Any]) -> int:
    """Return F of the features of images of all sizes, in evaluation and in training."""
    try:
        return _measured(timm_name, sizes, kwargs, "meta")
    except (RuntimeError, TypeError) as error:
        if "meta" not in str(error):
            raise
    # A forward pass that depends on values.
    return _measured(timm_name, sizes, kwargs, "cpu")


def _measured(timm_name: str, sizes: Sequence[int], kwargs: Mapping[str, Any], device: str) -> int:
    with torch.device(device):
        try:
            model = timm.create_model(timm_name, num_classes=0, **kwargs)
            _check_memory(model)
        except Exception as error:  # whatever arguments lead to
            raise _NotBuiltError(_line(error)) from error
        widths = {
            _features(model, count, kwargs.get("in_chans", 3), size, training)
            for size, (training, count) in itertools.product(sizes, [(False, 1), (True, 2)])
        }
    if len(widths) > 1:
        raise ValueError(f"features of {' and '.join(map(str, sorted(widths)))} dimensions")
    return widths.pop()


def _features(model: nn.Module, count: int, channels: int, size: int, training: bool) -> int:
    features = model.train(training)(torch.zeros(count, channels, size, size))
    if not isinstance(features, Tensor):
        raise ValueError(f"a {type(features).__name__} {'in training' if training else ''}".strip())
    if features.ndim != 2 or len(features) != count or not features.shape[1]:
        raise ValueError(f"{tuple(features.shape)} of {count} images")
    return features.shape[1]


def _check_memory(model: nn.Module) -> None:
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    if weights > memory:
        raise ValueError(
            f"weights of {weights / 2**30:.3g} GiB are more than this machine's memory, "
            f"{memory / 2**30:.3g} GiB"
        )


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Leave the global random generators as they are."""
    ours, theirs = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)


def _line(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
