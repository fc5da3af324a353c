"""What to load and how to augment it: typed, checked, and free of any image library."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.config.arguments import (
    Bounds,
    Count,
    NonNegative,
    check_arguments,
    check_templates,
    check_value,
)
from solo_ldm.config.schema import as_object, choice, number

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class DataConfig:
    """Where the images are and which of them are used.

    Args:
        dataset: a name of `solo_ldm.data.DATASETS`.
        train_path: folder of the data set, or of the training images of a custom set, or a text
            file that lists them with their labels.
        val_path: the same for the validation images of a custom set, of ImageNet and of
            cifar10-jpeg. Other named sets (cifar10, ...) keep both splits under `train_path` and
            ignore it.
        format: which backend reads and augments: auto, dali, torchvision (or image_folder,
            solo-learn's name for it).
        device: where DALI decodes and augments: auto (where the model is), cpu or gpu.
        num_workers: loader processes, or DALI's threads; 0 loads in the main process.
        no_labels: treat the images as unlabelled.
        fraction: share of the training images used, in (0, 1]; -1 means all.
        val_fraction: share held out for validation where a labelled set has no split of its own.
        held_out: share of the training images, the same of every class, that is not trained on and
            is validated on in place of any other images: settings are chosen so, never by the test
            images. Those of `val_fraction` are left out first: they are neither trained nor
            validated on. None or 0 validates on the split of the set.
        score_test: validate on the split of the set though `held_out` is left out of training.
        in_memory: decode the images of files once, for training, and keep their pixels; they must
            be of one size. None does so up to 1 GiB a split.
        download: fetch a named set that is missing.
        pair_match: probability that the second view is of another image of the same class, else
            it is of an image of another class; None for two views of one image.
        range: [low, high], what is black and white in files deeper than 8 bits; auto or None
            decides it by a sample of the training files.
        channels: of every image; None means three, or gray for all three.
        image_key: of data=webdataset and hf: extension of the images (left.jpg, or a pattern such
            as *), or the name of their column; None finds them. Also of data=captions.
        label_key: the same of the labels (cls, fine_label); also a field of .json members.
        caption_key: the same of the captions (txt, caption); None reads none of shards, and the
            column caption of data=captions.
        class_captions: templates with {} for the name of an image's class, such as "a photo of a
            {}": its captions, where a labelled set has none of its own.
    """

    dataset: str = MISSING
    train_path: Optional[str] = "./datasets"
    val_path: Optional[str] = None
    format: str = choice("auto", "torchvision", "image_folder", "dali", default="auto")
    device: str = choice("auto", "cpu", "gpu", default="auto")
    num_workers: int = number(0, default=2)
    no_labels: bool = False
    fraction: float = number(above=0, high=1, also=-1, default=-1.0)
    val_fraction: float = number(0, below=1, default=0.2)
    held_out: Optional[float] = number(0, below=1, default=None)
    score_test: Optional[bool] = None
    in_memory: Optional[bool] = None
    download: bool = False
    pair_match: Optional[float] = number(0, 1, default=None)
    range: Any = field(default=None, metadata={"check": "solo_ldm.data.config:check_range"})
    channels: Optional[int] = number(1, 256, default=None)
    image_key: Optional[str] = None
    label_key: Optional[str] = None
    caption_key: Optional[str] = None
    class_captions: Optional[list[str]] = None

    @property
    def scores_held_out(self) -> bool:
        """Whether the images of `held_out` are validated on."""
        return bool(self.held_out) and not self.score_test


def check_range(key: str, value: Any) -> None:
    """Raise a one-line ValueError unless a value is null, auto, or two ascending numbers."""
    if value in (None, "auto"):
        return
    numbers = [*value] if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(numbers) != 2 or not all(
        isinstance(one, (int, float)) and math.isfinite(one) for one in numbers
    ):
        raise ValueError(f"{key}: expected auto or two numbers [LOW, HIGH], got {value!r}")
    if not numbers[0] < numbers[1]:
        raise ValueError(f"{key}: expected LOW < HIGH, got {value!r}; exchange them")


def check_data_config(config: DataConfig) -> None:
    """Check the values of a `DataConfig` that need no disk access.

    Raises:
        ValueError: a name that is unknown, or a number out of its range.
    """
    as_object(DataConfig, vars(config), "data.")
    if config.score_test and not config.held_out:
        raise ValueError(
            "data.score_test: expected data.held_out with it, got none; leave it out, the images "
            "that a set is tested on are scored anyway"
        )
    for key in ("image_key", "label_key", "caption_key"):
        value = getattr(config, key)
        if value is not None and config.dataset not in ("webdataset", "hf", "captions"):
            raise ValueError(
                f"data.{key}: expected null with data={config.dataset}, got {value}; it is of "
                "data=webdataset, data=hf and data=captions"
            )
    if config.class_captions is not None:
        check_templates("data.class_captions", config.class_captions)
        if config.no_labels:
            raise ValueError(
                "data.class_captions: expected null with data.no_labels=true, as sentences about "
                "classes are labels; leave one of them out"
            )


Probability = Annotated[float, Bounds(0, 1)]
Share = Annotated[float, Bounds(1e-6, 1)]
Positive = Annotated[float, Bounds(1e-3)]


@dataclass(frozen=True)
class CropSpec:
    """A random crop of a share of the area (`crop_*_scale`), resized to the view's crop size."""

    enabled: bool = False
    crop_min_scale: Share = 0.08
    crop_max_scale: Share = 1.0
    min_aspect_ratio: Positive = 3 / 4
    max_aspect_ratio: Positive = 4 / 3


@dataclass(frozen=True)
class AffineSpec:
    """A random rotation and shear (± degrees), shift (± a share of the side) and scale."""

    prob: Probability = 0.0
    degrees: Annotated[float, Bounds(0, 180)] = 0.0
    translate: Annotated[float, Bounds(0, 1)] = 0.0
    scale_min: Positive = 1.0
    scale_max: Positive = 1.0
    shear: Annotated[float, Bounds(0, 89)] = 0.0


@dataclass(frozen=True)
class ColorJitterSpec:
    """Random brightness, contrast and saturation (factor 1 ± value) and hue (± turns)."""

    prob: Probability = 0.0
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: Annotated[float, Bounds(0, 0.5)] = 0.0


@dataclass(frozen=True)
class BlurSpec:
    """A Gaussian blur whose radius, in pixels of the view, is uniform in [sigma_min, sigma_max]."""

    prob: Probability = 0.0
    sigma_min: NonNegative = 0.1
    sigma_max: NonNegative = 2.0


@dataclass(frozen=True)
class SwitchSpec:
    """An operator without parameters, applied with probability `prob`."""

    prob: Probability = 0.0


@dataclass(frozen=True)
class ViewSpec:
    """How `num_crops` views of `crop_size` pixels are drawn from an image.

    Operators are off unless given. They apply in the order affine, crop, colour jitter,
    grayscale, blur, solarisation, equalisation, flip. `mean` and `std` (one number, or one a
    channel, in the range [0, 1]) replace the data set's own.
    """

    crop_size: Count
    num_crops: Count
    rrc: CropSpec = field(default_factory=CropSpec)
    affine: AffineSpec = field(default_factory=AffineSpec)
    color_jitter: ColorJitterSpec = field(default_factory=ColorJitterSpec)
    grayscale: SwitchSpec = field(default_factory=SwitchSpec)
    gaussian_blur: BlurSpec = field(default_factory=BlurSpec)
    solarization: SwitchSpec = field(default_factory=SwitchSpec)
    equalization: SwitchSpec = field(default_factory=SwitchSpec)
    horizontal_flip: SwitchSpec = field(default_factory=SwitchSpec)
    mean: Optional[tuple[Probability, ...]] = None
    std: Optional[tuple[Share, ...]] = None


def parse_augmentations(views: Iterable[Any]) -> tuple[ViewSpec, ...]:
    """Read a list of views in solo-learn's schema, checking every key and value.

    Args:
        views: mappings (plain or OmegaConf's), or `ViewSpec`s, which pass through.

    Returns:
        One `ViewSpec` an entry, in order.

    Raises:
        ValueError: an unknown or missing key, a value of the wrong kind or out of range.
    """
    if not isinstance(views, Iterable) or isinstance(views, (str, Mapping, DictConfig)):
        raise ValueError(
            f"augmentations: expected a list of views, got {views!r}; start each view with '-'"
        )
    parsed = tuple(
        view if isinstance(view, ViewSpec) else _view(view, f"augmentations[{position}]")
        for position, view in enumerate(views)
    )
    if not parsed:
        raise ValueError("augmentations: expected at least one view, got an empty list")
    return parsed


def check_statistics(views: Iterable[ViewSpec], channels: int) -> None:
    """Check that means and deviations of views are one number, or one a channel."""
    for place, view in enumerate(views):
        for key, values in (("mean", view.mean), ("std", view.std)):
            if values is not None and len(values) not in (1, channels):
                raise ValueError(
                    f"augmentations[{place}].{key}: expected one number or {channels}, one a "
                    f"channel (data.channels), got {list(values)}; correct or remove it"
                )


def check_views(views: Any) -> None:
    """Check views, if there are any, of images whose size is decided elsewhere."""
    if OmegaConf.is_list(views) and all(OmegaConf.is_dict(one) for one in views):
        views = [{"crop_size": 1, "num_crops": 1, **one} for one in views]
    if views is not None:
        parse_augmentations(views)


def _view(given: Any, where: str) -> ViewSpec:
    values = _mapping(given, where)
    for one in fields(ViewSpec):
        value, key = values.get(one.name), f"{where}.{one.name}"
        if isinstance(one.default_factory, type) and one.name in values:
            values[one.name] = _operator(one.default_factory, value, key)
        elif one.name in ("mean", "std") and value is not None:
            channels = value if isinstance(value, (list, tuple)) else [value]
            if not channels:
                raise ValueError(f"{key}: expected one number or one a channel, got {value!r}")
            values[one.name] = tuple(channels)
    check_arguments(where, values, ViewSpec)
    return ViewSpec(**values)


def _operator(spec: Any, given: Any, where: str) -> Any:
    """Read one operator; `enabled: False` turns it off whatever its other keys say."""
    if given is None:
        # A bare `rrc:` with nothing under it is off, as a missing one is.
        return spec()
    values = _mapping(given, where)
    enabled = values.pop("enabled", True)
    check_value(f"{where}.enabled", enabled, bool)
    check_arguments(where, values, spec)
    if spec is CropSpec:
        values["enabled"] = enabled
    elif not enabled:
        values["prob"] = 0.0
    elif "prob" not in values:
        raise ValueError(f"{where}.prob: expected a probability in [0, 1], got none; 0 is off")
    result = spec(**values)
    for low in (one.name for one in fields(spec) if "min" in one.name):
        high = low.replace("min", "max")
        if getattr(result, low) > getattr(result, high):
            raise ValueError(
                f"{where}: expected {low} <= {high}, "
                f"got {getattr(result, low)} > {getattr(result, high)}; exchange them"
            )
    return result


def _mapping(given: Any, where: str) -> dict[str, Any]:
    if OmegaConf.is_dict(given):
        given = OmegaConf.to_container(given, resolve=True)
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: expected a mapping, got {given!r}")
    return {str(key): value for key, value in given.items()}
