"""Features of a data set: what every evaluation protocol starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Features(NamedTuple):
    """A data set after the backbone.

    Args:
        features: (N, D) floating point, in the backbone's own unit.
        labels: (N,) integers from 0, a class each.
    """

    features: Tensor
    labels: Tensor


def check_vectors(name: str, features: Tensor, at_least: int = 1) -> None:
    """Check that `features` is one vector a sample, of `at_least` so many samples.

    Raises:
        ValueError: in one line, for another shape.
    """
    if features.ndim != 2 or len(features) < at_least or features.shape[1] == 0:
        raise ValueError(
            f"{name}: expected (samples, dimensions) with at least {at_least} samples, got "
            f"{tuple(features.shape)}; flatten or pool to one vector per sample"
        )


def check_finite(name: str, features: Tensor) -> None:
    """Check that `features` (N, D) holds neither NaN nor infinity.

    Raises:
        ValueError: in one line, with the number of samples that do.
    """
    num_bad = int((~features.isfinite()).any(dim=1).sum())
    if num_bad:
        raise ValueError(
            f"{name}: expected finite numbers, got {num_bad} of {len(features)} samples with NaN "
            "or infinity; the weights have diverged, use an earlier checkpoint or a lower "
            "learning rate"
        )


def check_features(train_features: Tensor, train_labels: Tensor, test_features: Tensor) -> None:
    """Check that three tensors can be trained and tested on together.

    Args:
        train_features: (N, D).
        train_labels: (N,) integers from 0.
        test_features: (M, D).

    Raises:
        ValueError: in one line, for a wrong shape, for labels that are not classes.
    """
    check_vectors("train features", train_features)
    check_vectors("test features", test_features)
    if train_features.shape[1] != test_features.shape[1]:
        raise ValueError(
            f"train and test features: expected equal dimensions, got {train_features.shape[1]} "
            f"and {test_features.shape[1]}; extract both with the same backbone"
        )
    check_labels("train", train_labels, len(train_features))


def check_samples(what: str, train: Features, test: Features) -> None:
    """Check that features can be trained and tested on.

    Args:
        what: the protocol or command, for the message.
        train: features (N, D) and labels (N,).
        test: features (M, D) and labels (M,).

    Raises:
        ValueError: in one line, for features that are not finite, a single class, or shapes that
            do not fit.
    """
    check_features(*train, test.features)
    check_labels("test", test.labels, len(test.features))
    check_finite("train features", train.features)
    check_finite("test features", test.features)
    if len(train.labels.unique()) < 2:
        raise ValueError(
            f"{what}: expected at least 2 classes in the training labels, got only class "
            f"{int(train.labels[0])}; is the data set sorted by class and cut short?"
        )


def check_labels(name: str, labels: Tensor, num_samples: int) -> None:
    """Check that `labels` is one class, counted from 0, for each sample.

    Args:
        name: what the labels belong to, for the message.
        labels: (N,) integers from 0.
        num_samples: N.

    Raises:
        ValueError: in one line, for a wrong shape or kind, or a negative label.
    """
    if labels.shape != (num_samples,):
        raise ValueError(
            f"{name} labels: expected one per sample, ({num_samples},), got {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(
            f"{name} labels: expected integers, got {labels.dtype}; number the classes from 0"
        )
    num_negative = int((labels < 0).sum())
    if num_negative:
        raise ValueError(
            f"{name} labels: expected classes numbered from 0, got {num_negative} negative; "
            "leave unlabelled samples out of the evaluation"
        )


def extract_features(
    backbone: nn.Module,
    dataloader: Iterable[Sequence[Any]],
    device: torch.device | str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Features:
    """Run a backbone over a data set once, without gradients, in evaluation mode.

    Args:
        backbone: maps images (B, ...) to features (B, D). Each of its parts is put back into the
            training or evaluation mode, and on the device, that it came with.
        dataloader: yields [images (B, ...), targets (B,)].
        device: where to run; None means where the backbone is.
        progress: called after each batch with the batches done and, where known, in all.

    Returns:
        Features in float32 and labels in int64, both on the CPU, in the dataloader's order.

    Raises:
        ValueError: for an empty dataloader, a batch that is not [images, targets], or a backbone
            that does not give one vector per image.
    """
    home = _device_of(backbone)
    device = home if device is None else torch.device(device)
    num_batches = len(dataloader) if hasattr(dataloader, "__len__") else None  # type: ignore[arg-type]
    modes = {module: module.training for module in backbone.modules()}
    features, labels, done = _Rows(), _Rows(), 0
    try:
        backbone.to(device).eval()
        layout = _memory_format_of(backbone)
        with torch.inference_mode():
            for batch in dataloader:
                images, targets = _unpack(batch)
                # Images in the layout of the weights spare a copy in every convolution.
                images = images.to(
                    device,
                    non_blocking=True,
                    memory_format=layout if images.ndim == 4 else torch.preserve_format,
                )
                output = backbone(images)
                _check_output(output, len(images))
                features.add(output.to("cpu", torch.float32))
                labels.add(targets.reshape(-1).to("cpu", torch.int64))
                done += 1
                if progress is not None:
                    progress(done, num_batches)
    finally:
        backbone.to(home)
        # Not backbone.train(mode): parts may have been frozen in evaluation mode one by one.
        for module, mode in modes.items():
            module.training = mode
    if not done:
        raise ValueError("dataloader: expected at least one batch, got none; is the folder empty?")
    # Outside inference mode, so that the result is an ordinary tensor that autograd may save.
    return Features(features.all(), labels.all())


class _Rows:
    """Rows that come in batches, in one piece of memory.

    Small tensors kept from every batch would lie in the memory of the large ones that it freed,
    which the next batch could then not take again: gigabytes for 60,000 small images.
    """

    def __init__(self) -> None:
        self._held: Tensor | None = None
        self._count = 0

    def add(self, rows: Tensor) -> None:
        end = self._count + len(rows)
        if self._held is None or end > len(self._held):
            larger = rows.new_empty(max(2 * end, 4096), *rows.shape[1:])
            larger[: self._count] = rows[:0] if self._held is None else self._held[: self._count]
            self._held = larger
        self._held[self._count : end] = rows
        self._count = end

    def all(self) -> Tensor:
        assert self._held is not None
        return self._held[: self._count].clone()


def _device_of(module: nn.Module) -> torch.device:
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _memory_format_of(module: nn.Module) -> torch.memory_format:
    for weight in module.parameters():
        # A 1x1 kernel is contiguous in both layouts: no evidence.
        if weight.ndim == 4 and not weight.is_contiguous():
            return torch.channels_last
    return torch.preserve_format


def _unpack(batch: Sequence[Any]) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, (list, tuple)) or len(batch) != 2:
        got = f"{len(batch)} items" if isinstance(batch, (list, tuple)) else type(batch).__name__
        raise ValueError(f"batch: expected [images, targets], got {got}")
    images, targets = batch
    if not isinstance(images, Tensor) or not isinstance(targets, Tensor):
        raise ValueError(
            "batch: expected [images, targets] as tensors, got "
            f"[{type(images).__name__}, {type(targets).__name__}]; use one view per image"
        )
    if targets.numel() != len(images):
        raise ValueError(
            f"targets: expected one per image, {len(images)}, got {tuple(targets.shape)}"
        )
    return images, targets


def _check_output(output: Any, num_images: int) -> None:
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != num_images:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"backbone: expected one vector per image, ({num_images}, dimensions), got {got}; "
            "pool its output, or pass the part that does"
        )
