"""The operators on colours, blur and flip, for a batch of images of one size at once.

One tensor operation for a whole batch costs far less than a call for each image, which is what
DALI's and Pillow's operators are on small images, and it runs where the images are. Values are
floats in [0, 255], clamped after each adjustment as torchvision does; what torchvision rounds to
whole numbers in between is not rounded. Images of another number of channels than three have no
saturation and hue, and their mean over the channels takes the place of the luma.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm.data.augment.draws import BRIGHTNESS, CONTRAST, HUE, SATURATION, ViewParameters

# Of R, G and B in the luma of ITU-R BT.601, which Pillow and torchvision use.
_LUMA = (0.299, 0.587, 0.114)
# Values handled at a time on a CPU, so that what one operator writes the next finds in its cache.
_CHUNK = 2**18


class Normalise:
    """Map values in [0, 255] to (value / 255 - mean) / std, in place.

    Args:
        mean: of the channels, in the range [0, 1].
        std: of the channels, in the range [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        deviation = torch.tensor(std).view(-1, 1, 1)
        self._scale = 1 / (255 * deviation)
        self._shift = -torch.tensor(mean).view(-1, 1, 1) / deviation

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 images (B, C, H, W), changed in place."""
        scale, shift = (each.to(images.device) for each in (self._scale, self._shift))
        return images.mul_(scale).add_(shift)


def render(pixels: Tensor, parameters: ViewParameters, normalise: Normalise) -> Tensor:
    """Apply everything that follows the crop, and normalise.

    Args:
        pixels: uint8 (B, H, W, C), cropped and resized.
        parameters: of the B samples; `box` and `affine` are not used.
        normalise: applied last.

    Returns:
        (B, C, H, W) float32, contiguous, on the device of `pixels`.
    """
    batch, height, width, channels = pixels.shape
    out = torch.empty((batch, channels, height, width), dtype=torch.float32, device=pixels.device)
    size = max(1, _CHUNK // (channels * height * width)) if pixels.device.type == "cpu" else batch
    for start in range(0, batch, size):
        rows = slice(start, start + size)
        chunk = out[rows].copy_(pixels[rows].permute(0, 3, 1, 2))
        normalise(_adjust(chunk, parameters, start))
    return out


def _adjust(images: Tensor, parameters: ViewParameters, start: int) -> Tensor:
    """Apply the operators to images start, start + 1, ... of a batch, in place."""
    rows = slice(start, start + len(images))
    order, sigma = parameters.order[rows], parameters.sigma[rows]
    factors = parameters.factors[rows].astype(np.float32)
    adjustments = _ADJUSTMENTS if images.shape[1] == 3 else _WITHOUT_COLOUR
    for step in range(order.shape[1]):
        for adjustment, operator in adjustments.items():
            _at(images, order[:, step] == adjustment, operator, factors[:, adjustment])
    _at(images, parameters.grayscale[rows], grayscale)
    _at(images, sigma > 0, gaussian_blur, sigma)
    _at(images, parameters.solarize[rows], solarize)
    _at(images, parameters.equalize[rows], equalize)
    _at(images, parameters.flip[rows], lambda some: some.flip(3))
    return images


def _at(
    images: Tensor, where: np.ndarray, operator: Callable[..., Tensor], *values: np.ndarray
) -> None:
    """Apply an operator, with a value an image where it takes one, to some images in place."""
    chosen = np.flatnonzero(where)
    arguments = [torch.from_numpy(each[chosen]).to(images.device) for each in values]
    if len(chosen) == len(images):
        images.copy_(operator(images, *arguments))
    elif len(chosen):
        index = torch.from_numpy(chosen).to(images.device)
        images.index_copy_(0, index, operator(images.index_select(0, index), *arguments))


def _luma(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images.unbind(1)
    luma = red * _LUMA[0]
    return luma.add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2]).unsqueeze(1)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Return images · factor, clamped to [0, 255]; factor is (B,)."""
    return (images * _per_image(factor)).clamp_(0, 255)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Return each image blended with its mean luma, by a factor (B,)."""
    mean = _luma(images).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, _per_image(factor)).clamp_(0, 255)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Return each image blended with its own luma, by a factor (B,)."""
    return torch.lerp(_luma(images), images, _per_image(factor)).clamp_(0, 255)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Return images whose hue (of HSV) is shifted by `turns` (B,), in [-0.5, 0.5].

    With V the largest channel, C the chroma and h in [0, 6) the shifted hue, the channels are
    V - C + C f(h), where f_R = clamp(|h - 3| - 1), f_G = clamp(2 - |h - 2|) and
    f_B = clamp(2 - |h - 4|), clamped to [0, 1].
    """
    red, green, blue = images.unbind(1)
    largest, smallest = images.amax(dim=1), images.amin(dim=1)
    chroma = largest - smallest
    scale = chroma.clamp_min(1e-6).reciprocal_()
    # Weights of 0 and 1 choose the case: on a CPU `where` and booleans are several times slower.
    hue = (red - green).mul_(scale).add_(4)
    hue = torch.lerp((blue - red).mul_(scale).add_(2), hue, (largest - green).sign_())
    hue = torch.lerp((green - blue).mul_(scale), hue, (largest - red).sign_())
    hue.add_(turns.view(-1, 1, 1), alpha=6)
    # Within [-4, 8) now: one turn at most is missing or too much.
    hue.sub_((hue / 6).floor_(), alpha=6)
    out = torch.empty_like(images)
    torch.sub(hue, 3, out=out[:, 0]).abs_().sub_(1)
    torch.sub(hue, 2, out=out[:, 1]).abs_().neg_().add_(2)
    torch.sub(hue, 4, out=out[:, 2]).abs_().neg_().add_(2)
    return out.clamp_(0, 1).mul_(chroma.unsqueeze(1)).add_(smallest.unsqueeze(1))


_ADJUSTMENTS = {
    BRIGHTNESS: adjust_brightness,
    CONTRAST: adjust_contrast,
    SATURATION: adjust_saturation,
    HUE: adjust_hue,
}
# Saturation and hue are of red, green and blue; what else there is has brightness and contrast.
_WITHOUT_COLOUR = {BRIGHTNESS: adjust_brightness, CONTRAST: adjust_contrast}


def grayscale(images: Tensor) -> Tensor:
    """Return the luma in all channels; the mean of the channels where they are not R, G, B."""
    return _luma(images).expand_as(images)


def solarize(images: Tensor) -> Tensor:
    """Return images whose values of 128 and more are inverted."""
    return torch.minimum(images, 255 - images)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Return images blurred by a Gaussian of standard deviation sigma (B,), in pixels.

    The kernel reaches to three deviations; beyond the border the image is mirrored.
    """
    batch, channels, height, width = images.shape
    reach = min(math.ceil(3 * float(sigma.max())), height - 1, width - 1)
    if reach == 0:
        return images
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    kernels = torch.exp(-0.5 * (offsets / sigma[:, None].clamp_min(1e-3)) ** 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).to(images.dtype)
    # Every channel of every image is a channel of one large image, with a kernel of its own.
    kernels = kernels.repeat_interleave(channels, dim=0)[:, None, :, None]
    padded = F.pad(images, (reach,) * 4, mode="reflect").flatten(0, 1).unsqueeze(0)
    groups = batch * channels
    padded = F.conv2d(padded, kernels, groups=groups)
    padded = F.conv2d(padded, kernels.transpose(2, 3), groups=groups)
    return padded.view(batch, channels, height, width)


def equalize(images: Tensor) -> Tensor:
    """Return images whose channels have flat histograms, by Pillow's rule on whole values."""
    # Imported where it is used: importing torchvision takes seconds.
    from torchvision.transforms.v2.functional import equalize_image

    return equalize_image(images.round().to(torch.uint8)).to(images.dtype)
