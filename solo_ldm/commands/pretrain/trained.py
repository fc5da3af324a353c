"""A trained backbone as Python has it: features of images, scores, the report."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from solo_ldm import zoo
from solo_ldm.commands.pretrain.values import plain
from solo_ldm.commands.shared.inputs import load_images
from solo_ldm.commands.shared.schema import ORIGINS
from solo_ldm.commands.shared.texts import Latents
from solo_ldm.config.arguments import shortened
from solo_ldm.config.errors import one_line_exceptions
from solo_ldm.data.config import DataConfig, check_range
from solo_ldm.data.datasets.memory import hold
from solo_ldm.data.sources.collected import collect
from solo_ldm.evaluation.features import extract_features
from solo_ldm.files import read_json
from solo_ldm.run.folder import RunFolder
from solo_ldm.weights import published
from solo_ldm.weights.pretrained import Pretrained, load_pretrained
from solo_ldm.weights.trained_method import load_method

_BATCH = 256
# Of a score, what fits a line; results has all of it.
_SHORT = ("top1", "untrained_top1", "interval", "ece", "num_test")


def load(source: str | Path) -> Run:
    """Give back a trained backbone.

    Args:
        source: the folder of a run (or its backbone.safetensors or last.ckpt), or zoo:NAME for a
            published one.

    Returns:
        What `solo_ldm.pretrain` returned: the same features, scores and report.

    Raises:
        FileNotFoundError: in one line: there is no such folder, or it holds no weights.
        ValueError: in one line: weights that cannot be read, or an unknown name.
    """
    with one_line_exceptions():
        if not isinstance(source, (str, Path)):
            raise ValueError(
                f"source: expected the folder of a run or zoo:NAME, got {shortened(source)}"
            )
        run = Run(source)
        _ = run.backbone
        return run


class Picture:
    """A picture in a file, which a notebook shows.

    Args:
        path: of the PNG.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Picture({str(self.path)!r})"

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


class Run:
    """A trained backbone, and what is known of it.

    Args:
        source: the folder of a run, or zoo:NAME.
    """

    def __init__(self, source: str | Path) -> None:
        self._zoo = str(source) if published.is_published(str(source)) else None
        #: Where its files are.
        self.folder = published.files(self._zoo) if self._zoo else _folder_of(str(source))

    @cached_property
    def _pretrained(self) -> Pretrained:
        return load_pretrained(self._zoo or self.folder)

    @property
    def backbone(self) -> nn.Module:
        """The network in evaluation mode: normalised images (B, C, H, W) to features (B, F)."""
        return self._pretrained.backbone

    @cached_property
    def results(self) -> dict[str, Any]:
        """The content of results.json; empty for a run that has not ended and for the zoo."""
        path = RunFolder(self.folder).results
        return read_json(path) if path.is_file() else {}

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """By protocol: top1 of the trained and untrained_top1 of the untrained backbone.

        A finished run has also the 95 % interval, the calibration error and the number of images.
        """
        if self._zoo:
            found = zoo.results(self._zoo.removeprefix("zoo:")).values()
            return {
                one.protocol: {"top1": one.value, "untrained_top1": one.baseline} for one in found
            }
        return {
            protocol: {key: score[key] for key in _SHORT}
            for protocol, score in self.results.get("results", {}).items()
        }

    @property
    def report(self) -> Picture | None:
        """The picture of the run; None where there is none."""
        path = RunFolder(self.folder).report
        return Picture(path) if path.is_file() else None

    def features(self, images: Any, data_range: tuple[float, float] | None = None) -> Tensor:
        """Return the features of images, preprocessed as those that the run was scored on.

        Args:
            images: of any kind that `solo_ldm.pretrain` takes but names of data sets: an array
                (N, H, W[, C]), a tensor (N, C, H, W), a sequence or a data set of images, or the
                path of an image. Labels are not used.
            data_range: (BLACK, WHITE) of values that are not of 8 bits; None takes that of the
                training.

        Returns:
            (N, F) in float32, on the CPU, computed on the device of the backbone.

        Raises:
            ValueError: in one line: images that do not fit.
        """
        with one_line_exceptions():
            return self._of(images, data_range, self.backbone)

    def encode_images(self, images: Any, data_range: tuple[float, float] | None = None) -> Tensor:
        """Return the latents of images in the space that a run of image and text shares.

        Args:
            images: as of `features`.
            data_range: as of `features`.

        Returns:
            (N, D) in float32, on the CPU; on the sphere, products with `encode_texts` are cosines.

        Raises:
            ValueError: in one line: images that do not fit, or a run of another method.
        """
        with one_line_exceptions():
            return self._of(images, data_range, Latents(self._method))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the latents of texts in the space that a run of image and text shares.

        Args:
            texts: one or more.

        Returns:
            (N, D) in float32, on the CPU.

        Raises:
            ValueError: in one line: no list of texts, or a run of another method.
        """
        with one_line_exceptions():
            return self._method.encode_texts(texts)

    @cached_property
    def _method(self) -> Any:
        """The whole method of a run of image and text, whose data have to be where they were."""
        method = None if self._zoo else load_method(self.folder).method
        if not hasattr(method, "encode_texts"):
            raise ValueError(
                f"{self._title}: expected a run of method=cross (clip, siglip) to encode images "
                "and texts in one space; features(images) has those of any run"
            )
        return method

    def _of(
        self, images: Any, data_range: tuple[float, float] | None, network: nn.Module
    ) -> Tensor:
        """Return what a network makes of images, preprocessed as those of the training."""
        trained = self._pretrained
        given = plain("data_range", data_range)
        check_range("data_range", given)
        known = trained.pixel_range if given is None else given
        listing = collect(
            [images] if isinstance(images, (str, Path)) else images,
            pixel_range=None if known in (None, "auto") else (known[0], known[1]),
            guessed=given is None,
            channels=None if trained.num_channels == 3 else trained.num_channels,
            key="images",
            labelled=False,
        )
        for notice in listing.notices:
            warnings.warn(notice, stacklevel=3)
        held = hold(listing)
        config = DataConfig("memory", held.place, no_labels=True, num_workers=0)
        device = next(network.parameters()).device
        data = load_images(config, trained, _BATCH, 0, device)
        loader = data.sample_dataloader(data.num_train_images)  # all, in order
        return extract_features(network, loader, device).features

    def __repr__(self) -> str:
        lines = [f"{self._title} in {self.folder}"]
        return "\n".join([*lines, *(f"  {name}: {text}" for name, text in self._rows())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>"
            for name, text in [*self._rows(), ("folder", str(self.folder))]
        )
        return f"<table><caption>{escape(self._title)}</caption>{rows}</table>"

    @property
    def _title(self) -> str:
        known = self.results
        if not known:
            return f"Run {self._zoo or self.folder.name}"
        return (
            f"Run {known['name']}: {known['backbone']} on {known['num_train_images']} images, "
            f"{known['epochs']} epochs"
        )

    def _rows(self) -> list[tuple[str, str]]:
        rows = []
        for protocol, score in self.scores.items():
            before = score["untrained_top1"]
            beside = "" if before is None else f" (untrained {before:.4f})"
            rows.append((protocol, f"{score['top1']:.4f}{beside}"))
        return rows or [("scores", "none")]


def _folder_of(source: str) -> Path:
    """Return a path that holds from any folder: that of the run whose final weights a file holds.

    Any other checkpoint stays a file: the scores of its run are not its own.
    """
    if source.startswith(ORIGINS) or not Path(source).expanduser().exists():
        return Path(source)  # as it was written, for the message
    path = Path(source).expanduser().resolve()
    for one in map(RunFolder, path.parents[:2]):
        if path in (one.backbone, one.last) and one.args.is_file():
            return one.path
    return path
