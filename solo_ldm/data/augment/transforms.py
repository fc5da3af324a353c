"""The geometry of views on Pillow images: affine map, crop and resize, as torchvision does them.

Pillow is called directly: torchvision's functions end in the same calls and cost more than those
do on small images.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from solo_ldm.data.augment.draws import ViewParameters, centre_box
from solo_ldm.data.sources.pixels import Picture

# Images up to this side are used whole in evaluation, as is usual for CIFAR and MNIST.
_SMALL_SIDE = 64
# What `evaluation_view` does, for the record of a score.
EVALUATION_VIEW = (
    "the whole image where it is square and of at most 64 pixels or the size itself, else the "
    "centre after resizing the shorter side to 256/224 of the size"
)


def crop_view(
    image: Picture, parameters: ViewParameters, row: int, size: int, random_crop: bool
) -> Picture:
    """Return one view's crop, before anything happens to its colours.

    Args:
        image: of mode RGB, or of any number of channels.
        parameters: of a batch of views.
        row: of the image in the batch.
        size: side of the result in pixels.
        random_crop: whether the box is a random crop, which is cut out before it is resized; the
            centre is cut out after resizing the whole image.
    """
    if parameters.affine is not None:
        image = image.transform(
            image.size,
            Image.Transform.AFFINE,
            tuple(parameters.affine[row].tolist()),
            Image.Resampling.BILINEAR,
        )
    left, top, width, height = parameters.box[row].tolist()
    if random_crop:
        image = image.crop((int(left), int(top), int(left + width), int(top + height)))
        return image.resize((size, size), Image.Resampling.BICUBIC)
    if image.size == (size, size):
        return image
    box = (left, top, left + width, top + height)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def evaluation_box(width: int, height: int, crop_size: int) -> tuple[float, float, float, float]:
    """Return the part of an image that is used in evaluation.

    A square image of at most 64 pixels, or of the crop's size already, is used whole; of any
    other, the centre after resizing the shorter side to crop_size · 256 / 224.

    Args:
        width: in pixels.
        height: in pixels.
        crop_size: side of the result in pixels.

    Returns:
        left, top, right and bottom in pixels of the image, not always whole.
    """
    if width == height and (width <= _SMALL_SIDE or width == crop_size):
        return 0.0, 0.0, float(width), float(height)
    sides = np.array([width], float), np.array([height], float)
    box = centre_box(*sides, size=crop_size, resized_side=round(crop_size * 256 / 224))[0]
    left, top, box_width, box_height = box.tolist()
    return left, top, min(left + box_width, width), min(top + box_height, height)


def evaluation_view(image: Picture, crop_size: int) -> Picture:
    """Return the one view used in evaluation: `evaluation_box`, resized."""
    if image.size == (crop_size, crop_size):
        return image
    box = evaluation_box(*image.size, crop_size)
    return image.resize((crop_size, crop_size), Image.Resampling.BICUBIC, box=box)
