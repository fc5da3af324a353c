"""Pictures and the views that are drawn of them, for tests of augmentation."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from solo_ldm.data.augment.draws import draw_view
from solo_ldm.data.augment.photometric import Normalise, render
from solo_ldm.data.augment.transforms import crop_view
from solo_ldm.data.config import AffineSpec, BlurSpec, ColorJitterSpec, SwitchSpec


def picture(height=32, width=32, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def photographs(side=48, count=12):
    """Patches of scikit-learn's two photographs."""
    patches = []
    for photograph in load_sample_images().images:
        for number in range(count // 2):
            top, left = 30 * number, 70 * number
            patches.append(Image.fromarray(photograph[top : top + side, left : left + side]))
    return patches


def stacked(images):
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


IDENTITY = Normalise((0.0, 0.0, 0.0), (1 / 255,) * 3)


def draw(spec, image, count=1, seed=0):
    """Views (count, H, W, 3) of one image, values in [0, 255]."""
    width, height = image.size
    drawn = draw_view(spec, 0, seed, 0, np.arange(count), [width] * count, [height] * count)
    crops = [crop_view(image, drawn, row, spec.crop_size, spec.rrc.enabled) for row in range(count)]
    pixels = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops]))
    return render(pixels, drawn, IDENTITY).permute(0, 2, 3, 1).numpy()


OPERATORS = {
    "affine": AffineSpec(0.3, degrees=20, translate=0.1, scale_min=0.9, scale_max=1.1, shear=5),
    "color_jitter": ColorJitterSpec(0.3, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "grayscale": SwitchSpec(0.3),
    "gaussian_blur": BlurSpec(0.3, sigma_min=0.5),
    "solarization": SwitchSpec(0.3),
    "equalization": SwitchSpec(0.3),
    "horizontal_flip": SwitchSpec(0.3),
}
