import random

import numpy as np
import pytest
import torchvision.transforms.v2.functional as F
from PIL import Image

from solo_ldm.data.config import (
    AffineSpec,
    BlurSpec,
    ColorJitterSpec,
    CropSpec,
    SwitchSpec,
    ViewSpec,
)
from solo_ldm.data.transforms import ViewTransform, _adjust_contrast, evaluation_view


def picture(height=32, width=32, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def draw(spec, image, count=1):
    generator = random.Random(0)
    transform = ViewTransform(spec)
    return [np.asarray(transform(image, generator)) for _ in range(count)]


OPERATORS = {
    "affine": AffineSpec(0.3, degrees=20, translate=0.1, scale_min=0.9, scale_max=1.1, shear=5),
    "color_jitter": ColorJitterSpec(0.3, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "grayscale": SwitchSpec(0.3),
    "gaussian_blur": BlurSpec(0.3, sigma_min=0.5),
    "solarization": SwitchSpec(0.3),
    "equalization": SwitchSpec(0.3),
    "horizontal_flip": SwitchSpec(0.3),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_augmentations_follow_their_probabilities(name):
    # A narrow range of values, so that equalisation has something to do.
    image = picture(16, 16).point([80 + value // 3 for value in range(256)] * 3)
    views = draw(ViewSpec(16, 1, **{name: OPERATORS[name]}), image, count=1000)
    changed = np.mean([not np.array_equal(view, np.asarray(image)) for view in views])
    assert abs(changed - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1000)


def test_a_view_without_operators_is_the_image():
    image = picture()
    assert np.array_equal(draw(ViewSpec(32, 1), image)[0], np.asarray(image))


def test_without_a_random_crop_the_shorter_side_is_resized_and_the_centre_kept():
    (view,) = draw(ViewSpec(16, 1), picture(32, 64))
    assert view.shape == (16, 16, 3)


def test_operators_equal_torchvisions():
    image = picture()
    cases = {
        "grayscale": F.rgb_to_grayscale(image, num_output_channels=3),
        "solarization": F.solarize(image, 128),
        "equalization": F.equalize(image),
        "horizontal_flip": F.horizontal_flip(image),
    }
    for name, expected in cases.items():
        (view,) = draw(ViewSpec(32, 1, **{name: SwitchSpec(1.0)}), image)
        assert np.array_equal(view, np.asarray(expected)), name
    for factor in (0.0, 0.4, 1.0, 1.7):
        ours = np.asarray(_adjust_contrast(image, factor))
        assert np.array_equal(ours, np.asarray(F.adjust_contrast(image, factor)))


def test_random_crops_cover_the_areas_that_were_asked_for():
    # Pixel values are coordinates, so that a crop's extent can be read off its pixels.
    rows, columns = np.meshgrid(np.arange(200), np.arange(200), indexing="ij")
    image = Image.fromarray(np.stack([rows, columns, rows], -1).astype(np.uint8))
    spec = ViewSpec(64, 1, rrc=CropSpec(True, 0.2, 0.6))
    views = draw(spec, image, count=300)
    height = np.array([np.ptp(view[..., 0].astype(int)) + 1 for view in views])
    width = np.array([np.ptp(view[..., 1].astype(int)) + 1 for view in views])
    area = height * width / 200**2
    assert 0.15 < area.min() < 0.25
    assert 0.55 < area.max() < 0.65
    assert abs(area.mean() - 0.4) < 0.03
    assert 0.7 < (width / height).min() < 0.85
    assert 1.2 < (width / height).max() < 1.45


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (300, 7)])
def test_any_shape_of_image_gives_a_square_view(size):
    spec = ViewSpec(8, 1, rrc=CropSpec(True, 0.08, 1.0), affine=OPERATORS["affine"])
    assert all(view.shape == (8, 8, 3) for view in draw(spec, picture(*size), count=20))


def test_small_affine_shifts_move_eight_pixel_images():
    image = picture(8, 8)
    views = draw(ViewSpec(8, 1, affine=AffineSpec(1.0, translate=0.1)), image, count=50)
    assert len({view.tobytes() for view in views}) > 40


@pytest.mark.parametrize(
    ("size", "crop"),
    [((32, 32), 32), ((8, 8), 16), ((96, 96), 96), ((64, 80), 56), ((300, 200), 224)],
)
def test_evaluation_views_are_square(size, crop):
    assert evaluation_view(picture(*size), crop).size == (crop, crop)


def test_evaluation_uses_small_images_whole_and_the_centre_of_others():
    small = picture(32, 32)
    assert evaluation_view(small, 32) is small
    large = Image.new("RGB", (256, 256))
    large.paste((255, 255, 255), (16, 16, 240, 240))
    assert np.asarray(evaluation_view(large, 224)).min() == 255
