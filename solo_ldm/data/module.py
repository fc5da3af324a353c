"""The images of a run, whatever the data set and the backend; Lightning is not imported here."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from solo_ldm.data.augment.draws import Ints
from solo_ldm.data.augment.pairs import Partners
from solo_ldm.data.augment.resolution import Resolution
from solo_ldm.data.augment.transforms import EVALUATION_VIEW
from solo_ldm.data.backends.base import Backend, PlainImages, TrainViews
from solo_ldm.data.backends.choice import choose_backend
from solo_ldm.data.config import (
    DataConfig,
    check_data_config,
    check_statistics,
    parse_augmentations,
)
from solo_ldm.data.datasets.base import Split
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.data.sources.decoded import Decoded
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.data.sources.pixels import Range
from solo_ldm.data.sources.unreadable import NAMED_FILES, Unreadable


class ImageDataModule:
    """Loaders of augmented views for training and of plain images for evaluation.

    Nothing is read before a loader or a property of the data set is asked for.

    Args:
        data: what to load.
        augmentations: the views, as mappings in solo-learn's schema or as `ViewSpec`s.
        batch_size: images a step of each process.
        seed: of the order and of the augmentations.
        device: that the model trains on; None means the trainer's, or the CPU without a trainer.
        resolution: of the training crops; None for that of the views.

    Raises:
        ValueError: a wrong configuration.
    """

    def __init__(
        self,
        data: DataConfig,
        augmentations: Iterable[Any],
        batch_size: int,
        seed: int = 0,
        device: torch.device | None = None,
        resolution: Resolution | None = None,
    ) -> None:
        check_data_config(data)
        if batch_size < 1:
            raise ValueError(f"optimizer.batch_size: expected at least 1, got {batch_size}")
        self.data = data
        self.views = parse_augmentations(augmentations)
        self.batch_size, self.seed = batch_size, seed
        # Lightning's, while it trains; see `solo_ldm.data.lightning`.
        self.trainer: Any = None
        # Where a resumed run goes on. Lightning lets workers fetch before it names the epoch.
        self.first_epoch = 0
        self._device, self.resolution = device, resolution
        self._backends: dict[torch.device, Backend] = {}
        self._splits = Splits(data)
        self._sources: dict[str, ImageSource | None] = {}
        self._unreadable: dict[str, Unreadable] = {}
        self.decoded = Decoded(data.in_memory)

    @property
    def backend(self) -> str:
        """The library that reads and augments, its version and where it does."""
        return self._backend.name

    @property
    def _backend(self) -> Backend:
        device = torch.device("cpu") if self._device is None else self._device
        if self.trainer is not None:
            device = self.trainer.strategy.root_device
        if device not in self._backends:
            self._backends[device] = choose_backend(self.data, self._train, device)
        return self._backends[device]

    def unreadable(self) -> dict[str, list[str]]:
        """Return the names of the images found unreadable so far, by split."""
        found = {split: images.names() for split, images in self._unreadable.items()}
        return {split: names for split, names in found.items() if names}

    def unreadable_summary(self) -> dict[str, dict[str, Any]]:
        """Return for the record how many images of each split could not be read, and some names."""
        return {
            split: {"count": len(names), "files": names[:NAMED_FILES]}
            for split, names in self.unreadable().items()
        }

    def clipped(self) -> dict[str, int]:
        """Return how many images of each split were found to exceed `pixel_range` so far."""
        found = {split: images.clipped() for split, images in self._unreadable.items()}
        return {split: len(names) for split, names in found.items() if names}

    @property
    def notices(self) -> list[str]:
        """A line for each thing about the images that was dropped, guessed or is unusual."""
        self.prepare_data()
        return self._splits.notices

    def share_unreadable(self) -> dict[str, list[str]]:
        """Gather what all processes have found, and return `unreadable`. All must call it."""
        for images in self._unreadable.values():
            images.share()
        return self.unreadable()

    @property
    def scored_on(self) -> str:
        """Which images are validated and scored on, in words."""
        return self._splits.scored_on

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; empty when the training images are unlabelled."""
        return self._train.classes

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 when the training images are unlabelled."""
        return len(self.classes)

    @property
    def num_train_images(self) -> int:
        """The number of training images, unlabelled ones included."""
        return len(self._train)

    @property
    def num_val_images(self) -> int:
        """The number of validation images that have labels."""
        source = self.source("val")
        return 0 if source is None else len(source.labelled)

    def readable(self, split: Split) -> list[int]:
        """Return the indexes of the images of a split not known to be unreadable."""
        count = len(self.source(split) or ())
        return [index for index in range(count) if index not in self._unreadable[split]]

    @property
    def num_large_crops(self) -> int:
        """The number of views of the size of the first."""
        return sum(one.num_crops for one in self.views if one.crop_size == self.image_size)

    @property
    def num_small_crops(self) -> int:
        """The number of views of another size."""
        return sum(one.num_crops for one in self.views) - self.num_large_crops

    @property
    def image_size(self) -> int:
        """The side of the first view, and of evaluation images, in pixels."""
        return self.views[0].crop_size

    @property
    def num_channels(self) -> int:
        """The number of channels of every image."""
        return self._train.num_channels

    @property
    def pixel_range(self) -> Range | None:
        """What is black and white in files deeper than 8 bits; None where there are none."""
        return self._train.pixel_range

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of the channels that normalises images."""
        return self._a_channel(self.views[0].mean) or self._train.mean

    @property
    def std(self) -> tuple[float, ...]:
        """The deviation of the channels that normalises images."""
        return self._a_channel(self.views[0].std) or self._train.std

    def _a_channel(self, given: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return given and given * (self.num_channels if len(given) == 1 else 1)

    def preprocessing(self) -> dict[str, Any]:
        """Return how images of a test set become inputs, for the record of a score."""
        return {
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "view": EVALUATION_VIEW,
            "backend": self.backend,
            **({} if self.pixel_range is None else {"range": list(self.pixel_range)}),
        }

    @property
    def _train(self) -> ImageSource:
        source = self.source("train")
        assert source is not None, "every data set has training images"
        return source

    def source(self, split: Split) -> ImageSource | None:
        """Return the images of a split, read once; None without a labelled validation split."""
        if split not in ("train", "val"):
            raise ValueError(f"split: expected train or val, got {split!r}")
        if split not in self._sources:
            check_statistics(self.views, self._splits.train.num_channels)
            self._use(split, self._splits.train if split == "train" else self._splits.val)
            self.decoded.plan(split, self._sources[split])
        return self._sources[split]

    def _use(self, split: Split, source: ImageSource | None) -> None:
        self._sources[split] = source
        if source is not None:
            self._unreadable[split] = Unreadable(source)

    def _decode(self, split: Split) -> None:
        """Read the files of a split once and keep their pixels, where data.in_memory has it so."""
        if (decoded := self.decoded(split, self.source(split))) is not self._sources[split]:
            self._use(split, decoded)

    def keep(self, split: Split, indexes: Ints) -> None:
        """Use the images of a split at `indexes` alone, in that order, from now on."""
        if (source := self.source(split)) is not None:
            self._use(split, source.subset(indexes))

    def prepare_data(self) -> None:
        """Fetch what is missing, in one process of each machine."""
        _ = self.source("train"), self.source("val")

    def train_dataloader(self) -> Any:
        """Return batches [indexes (B,), one (B, C, H, W) float32 tensor a view, targets (B,)].

        Raises:
            ValueError: fewer training images than one batch.
        """
        its = self.trainer
        sampler = self._sampler(*((its.world_size, its.global_rank) if its else (1, 0)))
        sampler.set_epoch(self.first_epoch)
        views = self.train_views()
        return self._backend.train_loader(views, sampler, self.data.num_workers)

    def train_views(self) -> TrainViews:
        """Return the training images, and how their views are drawn."""
        self._decode("train")
        drawn = (self.views, self.seed, self._unreadable["train"], self._partners())
        return TrainViews(self._train, *drawn, self.resolution)

    def check_batches(self, num_processes: int) -> None:
        """Check that batches can be made, before anything is.

        Raises:
            ValueError: fewer training images than one batch of all processes, or pairs of images
                of one class where not all are labelled.
        """
        self._sampler(num_processes, rank=0)
        self._partners()

    def _partners(self) -> Partners | None:
        match, train = self.data.pair_match, self._train
        return None if match is None else Partners(train.labels, match, self.seed, train.name)

    def _sampler(self, num_processes: int, rank: int) -> EpochSampler:
        return EpochSampler(self.num_train_images, self.batch_size, self.seed, num_processes, rank)

    def val_dataloader(self) -> Any:
        """Return batches [images (B, C, H, W), targets (B,)]; no loader without such a split."""
        self._decode("val")
        source = self.source("val")
        return [] if source is None else self._plain_loader("val", source.labelled, persistent=True)

    def evaluation_dataloader(self, split: Split) -> Any:
        """Return batches [images (B, C, H, W), targets (B,)] of a split, each labelled image once.

        Raises:
            ValueError: the split has no labelled images.
        """
        source = self.source(split)
        if source is None or not len(source.labelled):
            raise ValueError(
                f"{self.data.dataset}: the {split} split has no labelled images to evaluate; "
                f"give class folders (data.train_path, data.val_path) with data.no_labels=false"
            )
        return self._plain_loader(split, source.labelled)

    def sample_dataloader(self, most: int, split: Split = "train") -> Any:
        """Return batches of up to `most` plain images of a split, spread over the set.

        Targets are -1 where an image is unlabelled.
        """
        count = len(self.source(split) or ())
        indexes = np.linspace(0, count - 1, min(most, count)).astype(np.int64)
        return self._plain_loader(split, indexes)

    def _plain_loader(self, split: Split, indexes: Ints, persistent: bool = False) -> Any:
        source = self._sources[split]
        assert source is not None, "its indexes are given"
        how = (self.image_size, self.mean, self.std, self._unreadable[split])
        images = PlainImages(source, indexes, *how)
        loaded = (self.batch_size, self.data.num_workers, persistent)
        return self._backend.evaluation_loader(images, *loaded)
