"""What to load and how to augment it: typed, checked, and free of any image library."""

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING, ListConfig, OmegaConf

FORMATS = ("auto", "torchvision", "image_folder", "dali")
DEVICES = ("auto", "cpu", "gpu")
_INFINITY = float("inf")


@dataclass
class DataConfig:
    """Where the images are and which of them are used.

    Args:
        dataset: a name of `solo_ldm.data.DATASETS`.
        train_path: folder of the data set, or of the training images of a custom set, or a text
            file that lists them with their labels.
        val_path: the same for the validation images of a custom set and of ImageNet. Other named
            sets (cifar10, ...) keep both splits under `train_path` and ignore it.
        format: which backend reads and augments: auto, dali, torchvision (or image_folder,
            solo-learn's name for it).
        device: where DALI decodes and augments: auto (where the model is), cpu or gpu.
        num_workers: loader processes, or DALI's threads; 0 loads in the main process.
        no_labels: treat the images as unlabelled.
        fraction: share of the training images used, in (0, 1]; -1 means all.
        val_fraction: share held out for validation where a labelled set has no split of its own.
        download: fetch a named set that is missing.
        pair_match: probability that the second view is of another image of the same class, else
            it is of an image of another class; None for two views of one image.
    """

    dataset: str = MISSING
    # OmegaConf resolves these annotations at run time, on every Python we support.
    train_path: Optional[str] = "./datasets"  # noqa: UP045
    val_path: Optional[str] = None  # noqa: UP045
    format: str = "auto"
    device: str = "auto"
    num_workers: int = 2
    no_labels: bool = False
    fraction: float = -1.0
    val_fraction: float = 0.2
    download: bool = False
    pair_match: Optional[float] = None  # noqa: UP045


def check_data_config(config: DataConfig) -> None:
    """Check the values of a `DataConfig` that need no disk access.

    Raises:
        ValueError: an unknown format, or a number out of its range.
    """
    if config.format not in FORMATS:
        raise ValueError(unknown_name("data.format", config.format, FORMATS))
    if config.device not in DEVICES:
        raise ValueError(unknown_name("data.device", config.device, DEVICES))
    if config.fraction != -1 and not 0 < config.fraction <= 1:
        raise ValueError(
            f"data.fraction: expected a share in (0, 1], or -1 for all, got {config.fraction}"
        )
    if not 0 <= config.val_fraction < 1:
        raise ValueError(
            f"data.val_fraction: expected a share in [0, 1), got {config.val_fraction}"
        )
    if config.pair_match is not None and not 0 <= config.pair_match <= 1:
        raise ValueError(
            "data.pair_match: expected a probability in [0, 1], or null for views of one image, "
            f"got {config.pair_match}"
        )
    if config.num_workers < 0:
        raise ValueError(
            f"data.num_workers: expected 0 (load in the main process) or more, "
            f"got {config.num_workers}"
        )


def _bounded(default: float, low: float, high: float = _INFINITY) -> Any:
    """A dataclass field whose value must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


def _probability() -> Any:
    return _bounded(0.0, 0.0, 1.0)


@dataclass(frozen=True)
class CropSpec:
    """A random crop of a share of the area (`crop_*_scale`), resized to the view's crop size."""

    enabled: bool = False
    crop_min_scale: float = _bounded(0.08, 1e-6, 1.0)
    crop_max_scale: float = _bounded(1.0, 1e-6, 1.0)
    min_aspect_ratio: float = _bounded(3 / 4, 1e-3)
    max_aspect_ratio: float = _bounded(4 / 3, 1e-3)


@dataclass(frozen=True)
class AffineSpec:
    """A random rotation and shear (± degrees), shift (± a share of the side) and scale."""

    prob: float = _probability()
    degrees: float = _bounded(0.0, 0.0, 180.0)
    translate: float = _bounded(0.0, 0.0, 1.0)
    scale_min: float = _bounded(1.0, 1e-3)
    scale_max: float = _bounded(1.0, 1e-3)
    shear: float = _bounded(0.0, 0.0, 89.0)


@dataclass(frozen=True)
class ColorJitterSpec:
    """Random brightness, contrast and saturation (factor 1 ± value) and hue (± turns)."""

    prob: float = _probability()
    brightness: float = _bounded(0.0, 0.0)
    contrast: float = _bounded(0.0, 0.0)
    saturation: float = _bounded(0.0, 0.0)
    hue: float = _bounded(0.0, 0.0, 0.5)


@dataclass(frozen=True)
class BlurSpec:
    """A Gaussian blur whose radius, in pixels of the view, is uniform in [sigma_min, sigma_max]."""

    prob: float = _probability()
    sigma_min: float = _bounded(0.1, 0.0)
    sigma_max: float = _bounded(2.0, 0.0)


@dataclass(frozen=True)
class SwitchSpec:
    """An operator without parameters, applied with probability `prob`."""

    prob: float = _probability()


@dataclass(frozen=True)
class ViewSpec:
    """How `num_crops` views of `crop_size` pixels are drawn from an image.

    Operators are off unless given. They apply in the order affine, crop, colour jitter,
    grayscale, blur, solarisation, equalisation, flip. `mean` and `std` (three numbers each, in
    the range [0, 1]) replace the data set's own.
    """

    crop_size: int = field(metadata={"low": 1, "high": _INFINITY})
    num_crops: int = field(metadata={"low": 1, "high": _INFINITY})
    rrc: CropSpec = field(default_factory=CropSpec)
    affine: AffineSpec = field(default_factory=AffineSpec)
    color_jitter: ColorJitterSpec = field(default_factory=ColorJitterSpec)
    grayscale: SwitchSpec = field(default_factory=SwitchSpec)
    gaussian_blur: BlurSpec = field(default_factory=BlurSpec)
    solarization: SwitchSpec = field(default_factory=SwitchSpec)
    equalization: SwitchSpec = field(default_factory=SwitchSpec)
    horizontal_flip: SwitchSpec = field(default_factory=SwitchSpec)
    mean: Optional[tuple[float, ...]] = None  # noqa: UP045
    std: Optional[tuple[float, ...]] = None  # noqa: UP045


def parse_augmentations(views: Iterable[Any]) -> tuple[ViewSpec, ...]:
    """Read a list of views in solo-learn's schema, checking every key and value.

    Args:
        views: mappings (plain or OmegaConf's), or `ViewSpec`s, which pass through.

    Returns:
        One `ViewSpec` an entry, in order.

    Raises:
        ValueError: an unknown or missing key, a value of the wrong kind or out of range.
    """
    if isinstance(views, ListConfig):
        views = typing.cast("list[Any]", OmegaConf.to_container(views, resolve=True))
    if isinstance(views, (str, Mapping)):
        raise ValueError(
            f"augmentations: expected a list of views, got {_kind(views)}; start each view with '-'"
        )
    parsed = tuple(
        view if isinstance(view, ViewSpec) else _parse_view(view, f"augmentations[{position}]")
        for position, view in enumerate(views)
    )
    if not parsed:
        raise ValueError("augmentations: expected at least one view, got an empty list")
    return parsed


def num_large_crops(views: Sequence[ViewSpec]) -> int:
    """Count the crops whose size equals the first view's."""
    return sum(view.num_crops for view in views if view.crop_size == views[0].crop_size)


def num_small_crops(views: Sequence[ViewSpec]) -> int:
    """Count the crops whose size differs from the first view's."""
    return sum(view.num_crops for view in views) - num_large_crops(views)


def _parse_view(view: Any, where: str) -> ViewSpec:
    if OmegaConf.is_dict(view):
        view = OmegaConf.to_container(view, resolve=True)
    parameters = _parse(ViewSpec, view, where)
    for key in ("crop_size", "num_crops"):
        if key not in parameters:
            raise ValueError(f"{where}.{key}: missing; every view needs crop_size and num_crops")
    return ViewSpec(**parameters)


def _parse(spec: type, values: Any, where: str) -> dict[str, Any]:
    """Check a mapping against a dataclass and return its constructor arguments."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping, got {_kind(values)}")
    hints = typing.get_type_hints(spec)
    fields = {item.name: item for item in dataclasses.fields(spec)}
    parsed: dict[str, Any] = {}
    for key, value in values.items():
        place = f"{where}.{key}"
        if key not in fields:
            raise ValueError(unknown_name(place, key, [*fields, *_extra_keys(fields)]))
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            parsed[key] = _parse_operator(hint, value, place)
        elif key in ("mean", "std"):
            parsed[key] = _parse_channels(value, place)
        else:
            parsed[key] = _parse_scalar(hint, value, place, fields[key].metadata)
    return parsed


def _parse_operator(spec: Any, values: Any, where: str) -> Any:
    """Read one operator; `enabled: False` turns it off whatever its other keys say."""
    if values is None:
        # A bare `rrc:` with nothing under it is off, as a missing one is.
        return spec()
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping, got {_kind(values)}")
    values = dict(values)
    enabled = _parse_scalar(bool, values.pop("enabled", True), f"{where}.enabled", {})
    parsed = _parse(spec, values, where)
    if spec is CropSpec:
        parsed["enabled"] = enabled
    elif not enabled:
        parsed["prob"] = 0.0
    elif "prob" not in parsed:
        raise ValueError(f"{where}.prob: missing; give a probability in [0, 1] (0 turns it off)")
    result = spec(**parsed)
    names = [item.name for item in dataclasses.fields(spec)]
    for low in (name for name in names if "min" in name):
        high = low.replace("min", "max")
        if getattr(result, low) > getattr(result, high):
            raise ValueError(
                f"{where}: expected {low} <= {high}, "
                f"got {getattr(result, low)} > {getattr(result, high)}; exchange them"
            )
    return result


def _extra_keys(fields: Mapping[str, Any]) -> list[str]:
    return ["enabled"] if "prob" in fields else []


def _parse_scalar(hint: Any, value: Any, where: str, bounds: Mapping[str, float]) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{where}: expected True or False, got {value!r}")
        return value
    whole = hint is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise ValueError(f"{where}: expected {'a whole' if whole else 'a'} number, got {value!r}")
    low, high = bounds["low"], bounds["high"]
    if not low <= value <= high or value == _INFINITY:
        wanted = f"at least {low:g}" if high == _INFINITY else f"a number in [{low:g}, {high:g}]"
        raise ValueError(f"{where}: expected {wanted}, got {value}")
    return hint(value)


def _parse_channels(value: Any, where: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    low = 1e-6 if where.endswith("std") else 0.0
    channels = tuple(
        _parse_scalar(float, number, where, {"low": low, "high": 1.0}) for number in numbers
    )
    if len(channels) not in (1, 3):
        raise ValueError(f"{where}: expected one number or three (RGB), got {len(channels)}")
    return channels * (3 // len(channels))


def unknown_name(where: str, value: object, known: Iterable[str]) -> str:
    """Say that a name is unknown, which ones are known, and which of them was perhaps meant."""
    known = list(known)
    close = difflib.get_close_matches(str(value), known, n=1)
    guess = f"; did you mean {close[0]}?" if close else ""
    return f"{where}: {value!r} is unknown{guess} (known: {', '.join(known)})"


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
