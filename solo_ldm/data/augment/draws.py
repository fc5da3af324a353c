"""The parameters of augmented views, drawn for a whole batch at once.

A number depends on (seed, epoch, sample, view) and on nothing else: not on the backend that
renders it, the batch it is part of, the process that asks, or what was drawn before. That is why
both backends show the same views, two processes see what one would, and a resumed run needs no
stored random state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from solo_ldm.data.config import AffineSpec, ColorJitterSpec, CropSpec, ViewSpec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# The adjustments of a colour jitter, as `ViewParameters.order` numbers them.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

# Of a random crop, before it falls back to the centre.
_TRIES = 10
# Numbers drawn beyond those asked for: a view takes about fifty, one or ten at a time.
_AHEAD = 50
# The increment and the word of SplitMix64.
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


@dataclass(frozen=True)
class ViewParameters:
    """What happens to each of B images on the way to one view.

    Args:
        box: (B, 4) left, top, width and height in pixels of the source image of what is kept;
            whole numbers for a random crop.
        affine: (B, 6) the matrix (a, b, c, d, e, f) that maps a point (x, y) of the output to the
            point (a x + b y + c, d x + e y + f) of the source; None where the view has no affine.
        order: (B, 4) which adjustment of the colour jitter comes first, second, ...; -1 for none.
        factors: (B, 4) brightness, contrast, saturation (factors) and hue (turns).
        grayscale: (B,) whether.
        sigma: (B,) of the blur in pixels of the view; 0 for none.
        solarize: (B,) whether.
        equalize: (B,) whether.
        flip: (B,) whether.
    """

    box: Floats
    affine: Floats | None
    order: Ints
    factors: Floats
    grayscale: Bools
    sigma: Floats
    solarize: Bools
    equalize: Bools
    flip: Bools

    def rows(self, rows: slice) -> ViewParameters:
        """Return the parameters of some of the images."""
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        chosen = {key: None if value is None else value[rows] for key, value in values.items()}
        return replace(self, **chosen)


def draw_view(
    spec: ViewSpec,
    view: int,
    seed: int,
    epoch: int,
    samples: npt.ArrayLike,
    widths: npt.ArrayLike,
    heights: npt.ArrayLike,
) -> ViewParameters:
    """Draw the parameters of one view of each image.

    Args:
        spec: the operators and their ranges.
        view: number of the view; views of one image differ by it.
        seed: of the run.
        epoch: of the run.
        samples: (B,) indexes of the images in the data set.
        widths: (B,) of the images, in pixels.
        heights: (B,) of the images, in pixels.
    """
    width, height = (np.asarray(sides, dtype=np.float64) for sides in (widths, heights))
    draws = Uniforms(seed, epoch, view, samples)
    # Every number is drawn whether it is used or not, so that switching one operator off or
    # changing its range leaves the draws of the others as they are.
    affine = _affine(spec.affine, draws, width, height)
    crop = _random_crop(spec.rrc, draws, width, height)
    order, factors = _jitter(spec.color_jitter, draws)
    blur = spec.gaussian_blur
    return ViewParameters(
        box=crop if spec.rrc.enabled else centre_box(width, height, spec.crop_size),
        affine=affine if spec.affine.prob > 0 else None,
        order=order,
        factors=factors,
        grayscale=draws.chance(spec.grayscale.prob),
        sigma=np.where(draws.chance(blur.prob), draws.between(blur.sigma_min, blur.sigma_max), 0.0),
        solarize=draws.chance(spec.solarization.prob),
        equalize=draws.chance(spec.equalization.prob),
        flip=draws.chance(spec.horizontal_flip.prob),
    )


def centre_box(width: Floats, height: Floats, size: int, resized_side: int | None = None) -> Floats:
    """Return the part of an image that resizing its shorter side and cropping the centre keeps.

    Args:
        width: (B,) in pixels.
        height: (B,) in pixels.
        size: side of the crop in pixels.
        resized_side: what the shorter side is resized to; None means `size`.

    Returns:
        (B, 4) left, top, width and height in pixels of the source, not always whole.
    """
    resized = resized_side or size
    shorter = np.minimum(width, height)
    box = []
    for side in (width, height):
        # torchvision rounds the longer side down and the margin to whole pixels.
        scaled = np.floor(resized * side / shorter)
        margin = np.rint((scaled - size) / 2)
        box.append((margin * side / scaled, size * side / scaled))
    (left, kept_width), (top, kept_height) = box
    return np.stack([left, top, kept_width, kept_height], axis=1)


class Uniforms:
    """Uniform numbers in [0, 1) for each sample, in a fixed order.

    Args:
        seed: of the run.
        epoch: of the run.
        view: number of the view, or another number for what is no view.
        samples: (B,) indexes of the images in the data set.

    Source: the SplitMix64 generator, whose finaliser turns counters into independent-looking bits
    (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    """

    def __init__(self, seed: int, epoch: int, view: int, samples: npt.ArrayLike) -> None:
        key = 0
        for part in (seed, epoch, view):
            key = int(_mix(np.array([(key + part + _GOLDEN) & _MASK], dtype=np.uint64))[0])
        counters = np.asarray(samples, dtype=np.uint64)
        self._state = _mix(counters * np.uint64(_GOLDEN) ^ np.uint64(key))
        self._drawn, self._used = np.empty((len(counters), 0)), 0

    def take(self, count: int = 1) -> Floats:
        """Return the next `count` numbers of each sample, (B, count)."""
        left = self._drawn[:, self._used :]
        if left.shape[1] < count:
            self._drawn, self._used = np.concatenate([left, self._draw(count + _AHEAD)], axis=1), 0
        self._used += count
        return self._drawn[:, self._used - count : self._used]

    def _draw(self, count: int) -> Floats:
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        bits = _mix(self._state[:, None] + steps)
        self._state = self._state + steps[-1]
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def between(self, low: float, high: float) -> Floats:
        """Return the next number of each sample in [low, high), (B,)."""
        return low + (high - low) * self.take()[:, 0]

    def chance(self, probability: float) -> Bools:
        """Return True for each sample with a probability, (B,)."""
        return self.take()[:, 0] < probability


def _mix(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    # Unsigned 64-bit products wrap around, as they should.
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _random_crop(spec: CropSpec, draws: Uniforms, width: Floats, height: Floats) -> Floats:
    """Draw a box of a random share of the area and a random aspect ratio (torchvision's rule)."""
    share = spec.crop_min_scale + (spec.crop_max_scale - spec.crop_min_scale) * draws.take(_TRIES)
    low, high = math.log(spec.min_aspect_ratio), math.log(spec.max_aspect_ratio)
    root_ratio = np.exp(0.5 * (low + (high - low) * draws.take(_TRIES)))
    where = draws.take(2)
    root_area = np.sqrt(width * height)[:, None] * np.sqrt(share)
    w, h = np.rint(root_area * root_ratio), np.rint(root_area / root_ratio)
    fits = (w > 0) & (w <= width[:, None]) & (h > 0) & (h <= height[:, None])
    first = fits.argmax(axis=1)[:, None]
    w, h = np.take_along_axis(w, first, 1)[:, 0], np.take_along_axis(h, first, 1)[:, 0]
    # Ten tries and then the largest allowed crop of the centre.
    ratio = np.clip(width / height, spec.min_aspect_ratio, spec.max_aspect_ratio)
    found = fits.any(axis=1)
    w = np.where(found, w, np.clip(np.rint(height * ratio), 1, width))
    h = np.where(found, h, np.clip(np.rint(width / ratio), 1, height))
    left = np.floor(np.where(found, where[:, 0] * (width - w + 1), (width - w) / 2))
    top = np.floor(np.where(found, where[:, 1] * (height - h + 1), (height - h) / 2))
    return np.stack([left, top, w, h], axis=1)


def _affine(spec: AffineSpec, draws: Uniforms, width: Floats, height: Floats) -> Floats:
    """Draw rotation, shift, scale and shear about the centre; return the output-to-source map.

    A point p of the source goes to  c + t + s R(angle) S(shear) (p - c),  with c the centre, as in
    torchvision's affine; its inverse is what both renderers need. Shifts need not be whole pixels,
    of which hardly any would be left at 8 pixels.
    """
    applied = draws.chance(spec.prob)
    angle = np.deg2rad(draws.between(-spec.degrees, spec.degrees))
    shift_x = draws.between(-spec.translate, spec.translate) * width
    shift_y = draws.between(-spec.translate, spec.translate) * height
    scale = draws.between(spec.scale_min, spec.scale_max)
    shear = np.deg2rad(draws.between(-spec.shear, spec.shear))
    cos, sin, tan = np.cos(angle), np.sin(angle), np.tan(shear)
    # R S = [[cos, -cos tan - sin], [sin, -sin tan + cos]] has determinant 1.
    matrix = np.stack(
        [cos - sin * tan, cos * tan + sin, np.zeros_like(cos), -sin, cos, np.zeros_like(cos)],
        axis=1,
    )
    matrix /= scale[:, None]
    centre_x, centre_y = width / 2, height / 2
    back_x, back_y = centre_x + shift_x, centre_y + shift_y
    matrix[:, 2] = centre_x - matrix[:, 0] * back_x - matrix[:, 1] * back_y
    matrix[:, 5] = centre_y - matrix[:, 3] * back_x - matrix[:, 4] * back_y
    return np.where(applied[:, None], matrix, np.array([1.0, 0, 0, 0, 1, 0]))


def _jitter(spec: ColorJitterSpec, draws: Uniforms) -> tuple[Ints, Floats]:
    """Draw the order and the factors of a colour jitter; -1 where nothing is adjusted."""
    applied = draws.chance(spec.prob)
    order = np.argsort(draws.take(4), axis=1)
    strengths = (spec.brightness, spec.contrast, spec.saturation)
    ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in strengths]
    ranges.append((-spec.hue, spec.hue))
    factors = np.stack([draws.between(low, high) for low, high in ranges], axis=1)
    idle = np.array([low == high for low, high in ranges])
    return np.where(applied[:, None] & ~idle[order], order, -1), factors
