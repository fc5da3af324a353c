"""How the torchvision backend draws a view of an image, and the one view used in evaluation.

Operators run on PIL images, which a CPU does faster than tensors up to 256 pixels; their
parameters are drawn here, as the draws of torchvision's transform objects cost more than the
operators themselves on small images.
"""

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from solo_ldm.data.config import AffineSpec, BlurSpec, ColorJitterSpec, CropSpec, ViewSpec

Operator = Callable[[Image.Image, random.Random], Image.Image]
# torchvision's operators take PIL images too, but are annotated for tensors alone.
F: Any = functional
_BICUBIC = InterpolationMode.BICUBIC
# Images up to this side are used whole in evaluation, as is usual for CIFAR and MNIST.
_SMALL_SIDE = 64


class ViewTransform:
    """Draw one view of an image.

    Args:
        spec: the operators and their probabilities.
    """

    def __init__(self, spec: ViewSpec) -> None:
        size = spec.crop_size
        crop = (
            partial(_random_resized_crop, spec.rrc, size)
            if spec.rrc.enabled
            else partial(_resize_and_crop, size)
        )
        operators: list[tuple[float, Operator]] = [
            (spec.affine.prob, partial(_affine, spec.affine)),
            (1.0, crop),
            (spec.color_jitter.prob, partial(_color_jitter, spec.color_jitter)),
            (spec.grayscale.prob, _grayscale),
            (spec.gaussian_blur.prob, partial(_gaussian_blur, spec.gaussian_blur)),
            (spec.solarization.prob, _solarize),
            (spec.equalization.prob, _equalize),
            (spec.horizontal_flip.prob, _flip),
        ]
        self._operators = [(prob, operator) for prob, operator in operators if prob > 0]

    def __call__(self, image: Image.Image, generator: random.Random) -> Image.Image:
        """Return a view of `crop_size` squared, RGB; `generator` alone decides it."""
        for prob, operator in self._operators:
            if prob >= 1 or generator.random() < prob:
                image = operator(image, generator)
        return image


def _random_resized_crop(
    spec: CropSpec, size: int, image: Image.Image, generator: random.Random
) -> Image.Image:
    width, height = image.size
    log_min, log_max = math.log(spec.min_aspect_ratio), math.log(spec.max_aspect_ratio)
    # Ten tries and then the largest allowed crop of the centre: torchvision's rule.
    for _ in range(10):
        area = width * height * generator.uniform(spec.crop_min_scale, spec.crop_max_scale)
        ratio = math.exp(generator.uniform(log_min, log_max))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = generator.randint(0, height - h), generator.randint(0, width - w)
            break
    else:
        ratio = min(max(width / height, spec.min_aspect_ratio), spec.max_aspect_ratio)
        w = max(min(width, round(height * ratio)), 1)
        h = max(min(height, round(width / ratio)), 1)
        top, left = (height - h) // 2, (width - w) // 2
    return F.resized_crop(image, top, left, h, w, [size, size], interpolation=_BICUBIC)


def _resize_and_crop(size: int, image: Image.Image, generator: random.Random) -> Image.Image:
    if image.size == (size, size):
        return image
    return F.center_crop(F.resize(image, [size], interpolation=_BICUBIC), [size, size])


def _affine(spec: AffineSpec, image: Image.Image, generator: random.Random) -> Image.Image:
    width, height = image.size
    # torchvision's RandomAffine rounds shifts to whole pixels, which leaves hardly any at 8 pixels.
    shift = [
        generator.uniform(-spec.translate, spec.translate) * width,
        generator.uniform(-spec.translate, spec.translate) * height,
    ]
    return F.affine(
        image,
        angle=generator.uniform(-spec.degrees, spec.degrees),
        translate=shift,
        scale=generator.uniform(spec.scale_min, spec.scale_max),
        shear=[generator.uniform(-spec.shear, spec.shear), 0.0],
        interpolation=_BICUBIC,
    )


def _color_jitter(
    spec: ColorJitterSpec, image: Image.Image, generator: random.Random
) -> Image.Image:
    adjustments = [
        (F.adjust_brightness, max(0.0, 1 - spec.brightness), 1 + spec.brightness),
        (_adjust_contrast, max(0.0, 1 - spec.contrast), 1 + spec.contrast),
        (F.adjust_saturation, max(0.0, 1 - spec.saturation), 1 + spec.saturation),
        (F.adjust_hue, -spec.hue, spec.hue),
    ]
    generator.shuffle(adjustments)
    for adjust, low, high in adjustments:
        if low < high:
            image = adjust(image, generator.uniform(low, high))
    return image


def _adjust_contrast(image: Image.Image, factor: float) -> Image.Image:
    # What F.adjust_contrast computes; Pillow's statistics make that three times as slow at 32
    # pixels.
    gray = int(np.asarray(image.convert("L")).mean() + 0.5)
    return Image.blend(Image.new("RGB", image.size, (gray, gray, gray)), image, factor)


def _grayscale(image: Image.Image, generator: random.Random) -> Image.Image:
    return F.rgb_to_grayscale(image, num_output_channels=3)


def _gaussian_blur(spec: BlurSpec, image: Image.Image, generator: random.Random) -> Image.Image:
    radius = generator.uniform(spec.sigma_min, spec.sigma_max)
    return image.filter(ImageFilter.GaussianBlur(radius))


def _solarize(image: Image.Image, generator: random.Random) -> Image.Image:
    return F.solarize(image, 128)


def _equalize(image: Image.Image, generator: random.Random) -> Image.Image:
    return F.equalize(image)


def _flip(image: Image.Image, generator: random.Random) -> Image.Image:
    return F.horizontal_flip(image)


def evaluation_view(image: Image.Image, crop_size: int) -> Image.Image:
    """Return the one view used in evaluation.

    A square image of at most 64 pixels, or of the crop's size already, is used whole; of any
    other, the centre after resizing the shorter side to crop_size · 256 / 224.
    """
    width, height = image.size
    if width == height and (width <= _SMALL_SIDE or width == crop_size):
        if width == crop_size:
            return image
        return F.resize(image, [crop_size, crop_size], interpolation=_BICUBIC)
    image = F.resize(image, [round(crop_size * 256 / 224)], interpolation=_BICUBIC)
    return F.center_crop(image, [crop_size, crop_size])
