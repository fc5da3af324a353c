"""The operators of views: pixels as torchvision's."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import InterpolationMode

from solo_ldm.data.augment import photometric
from solo_ldm.data.augment.draws import draw_view
from solo_ldm.data.augment.photometric import render
from solo_ldm.data.augment.transforms import crop_view, evaluation_view
from solo_ldm.data.config import AffineSpec, ColorJitterSpec, CropSpec, SwitchSpec, ViewSpec
from tests.support.data.views import IDENTITY, OPERATORS, draw, photographs, picture, stacked


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_adjustments_equal_torchvisions_to_a_rounding(name):
    images = photographs()
    factors = torch.linspace(0.2, 1.8, len(images))
    theirs = getattr(F, f"adjust_{name}")
    expected = stacked(
        [theirs(image, factor.item()) for image, factor in zip(images, factors, strict=True)]
    )
    ours = getattr(photometric, f"adjust_{name}")(stacked(images), factors)
    # Pillow rounds the luma, its mean and the result, each by half a level or less.
    assert (ours - expected).abs().max() <= 2


def test_hue_equals_torchvisions():
    images = stacked([*photographs(), picture(48, 48), Image.new("RGB", (48, 48), (9, 9, 9))])
    turns = torch.linspace(-0.5, 0.5, len(images))
    expected = [
        F.adjust_hue(image / 255, turn.item()) * 255
        for image, turn in zip(images, turns, strict=True)
    ]
    torch.testing.assert_close(
        photometric.adjust_hue(images, turns), torch.stack(expected), atol=2e-3, rtol=0
    )


def test_grayscale_solarisation_equalisation_and_flip_equal_torchvisions():
    images = [*photographs(), picture(48, 48), Image.new("RGB", (48, 48), (7, 200, 128))]
    cases = {
        "grayscale": (lambda image: F.rgb_to_grayscale(image, num_output_channels=3), 0.5),
        "solarize": (lambda image: F.solarize(image, 128), 0),
        "equalize": (F.equalize, 0),
    }
    for name, (theirs, tolerance) in cases.items():
        expected = stacked([theirs(image) for image in images])
        ours = getattr(photometric, name)(stacked(images))
        assert (ours - expected).abs().max() <= tolerance + 1e-3, name
    flipped = draw(ViewSpec(48, 1, horizontal_flip=SwitchSpec(1.0)), images[0])[0]
    np.testing.assert_allclose(flipped, np.asarray(F.horizontal_flip(images[0])), atol=1e-4)


def test_blur_equals_torchvisions():
    images = stacked(photographs())
    sigma = torch.linspace(0.1, 2.0, len(images))
    # A blur reaches three of the batch's largest deviations: 6 pixels, a kernel of 13.
    expected = [
        F.gaussian_blur(image, [13, 13], [each.item()] * 2)
        for image, each in zip(images, sigma, strict=True)
    ]
    torch.testing.assert_close(
        photometric.gaussian_blur(images, sigma.double()), torch.stack(expected), atol=0.01, rtol=0
    )


def test_a_narrow_blur_reaches_the_pixels_within_three_deviations():
    """Two pixels at half a one; in an image of one row there is nothing to blur."""
    images = stacked(photographs())[:3]
    theirs = torch.stack([F.gaussian_blur(image, [5, 5], [0.5, 0.5]) for image in images])
    ours = photometric.gaussian_blur(images, torch.full((3,), 0.5).double())
    torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0)
    row = images[:, :, :1]
    assert torch.equal(photometric.gaussian_blur(row, torch.full((3,), 0.5).double()), row)


@pytest.mark.parametrize(
    ("height", "width", "sigma", "reach"), [(3, 4, 2.0, 2), (4, 3, 2.0, 2), (9, 9, 0.3, 1)]
)
def test_a_blur_reaches_three_deviations_or_as_far_as_mirroring_can(height, width, sigma, reach):
    """Beside a blur of nothing, which leaves its image as it is."""
    images = 255.0 * torch.rand(2, 3, height, width)
    ours = photometric.gaussian_blur(images, torch.tensor([sigma, 0.0]).double())
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    mirrored = torch.nn.functional.pad(images[:1], (reach,) * 4, mode="reflect")
    rows = sum(weight * mirrored[:, :, i : i + height] for i, weight in enumerate(kernel))
    expected = sum(weight * rows[..., i : i + width] for i, weight in enumerate(kernel))
    torch.testing.assert_close(ours[:1], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(ours[1], images[1], atol=1e-3, rtol=0)


def test_no_adjustment_leaves_the_range_of_pixels():
    images = torch.tensor([[250.0, 0.0, 10.0], [5.0, 240.0, 255.0]]).view(2, 3, 1, 1)
    factor = torch.tensor([3.0, 3.0])
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    blended = luma + 3.0 * (images - luma)
    for ours in (photometric.adjust_contrast, photometric.adjust_saturation):
        torch.testing.assert_close(ours(images, factor), blended.clamp(0.0, 255.0))
    bright = photometric.adjust_brightness(images, factor)
    torch.testing.assert_close(bright, (3.0 * images).clamp(0.0, 255.0))
    assert (blended.min() < 0.0, blended.max() > 255.0) == (True, True)


def test_equalisation_counts_the_nearest_whole_levels():
    images = torch.randint(20, 200, (2, 3, 8, 8)).float()
    expected = photometric.equalize(images)
    for shift in (-0.4, 0.4):
        assert torch.equal(photometric.equalize(images + shift), expected)


def test_without_three_channels_their_mean_stands_for_the_luma():
    images = 255.0 * torch.rand(2, 4, 5, 5)
    mean = images.mean(dim=1, keepdim=True)
    torch.testing.assert_close(photometric.grayscale(images), mean.expand_as(images))
    factor = torch.tensor([0.5, 1.5])
    expected = (
        mean.mean(dim=(2, 3), keepdim=True) * (1 - factor.view(2, 1, 1, 1))
        + factor.view(2, 1, 1, 1) * images
    )
    ours = photometric.adjust_contrast(images, factor)
    torch.testing.assert_close(ours, expected.clamp(0, 255))


def test_the_affine_map_is_torchvisions():
    spec = AffineSpec(1.0, degrees=30, translate=0.0, scale_min=1.25, scale_max=1.25, shear=0)
    image = photographs()[0]
    drawn = draw_view(ViewSpec(48, 1, affine=spec), 0, 0, 0, np.arange(6), [48] * 6, [48] * 6)
    assert drawn.affine is not None
    for row, (a, b, *_) in enumerate(drawn.affine):
        angle = np.degrees(np.arctan2(b, a))
        theirs = F.affine(
            image, angle, [0, 0], 1.25, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
        )
        ours = crop_view(image, drawn, row, 48, random_crop=False)
        difference = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs))
        # A pixel whose source lies on the border may fall on either side of it.
        assert np.mean(difference > 1) < 0.005


def test_a_shear_and_a_shift_are_torchvisions():
    spec = ViewSpec(48, 1, affine=AffineSpec(1.0, translate=0.2, shear=20))
    image = photographs()[3]
    drawn = draw_view(spec, 0, 0, 0, np.arange(6), [48] * 6, [48] * 6)
    assert drawn.affine is not None
    for row, (a, b, c, d, e, f) in enumerate(drawn.affine):
        shear = np.degrees(np.arctan2(b, a))
        shift = [24 - a * 24 - b * 24 - c, 24 - d * 24 - e * 24 - f]
        shift = [shift[0] - np.tan(np.radians(shear)) * shift[1], shift[1]]
        assert max(map(abs, shift)) <= 0.2 * 48
        theirs = F.affine(
            image, 0.0, shift, 1.0, [shear, 0.0], interpolation=InterpolationMode.BILINEAR
        )
        ours = np.asarray(crop_view(image, drawn, row, 48, random_crop=False)).astype(int)
        assert np.mean(np.abs(ours - np.asarray(theirs)) > 1) < 0.005


def test_crops_equal_torchvisions():
    image = Image.fromarray(load_sample_images().images[0])
    spec = ViewSpec(64, 1, rrc=CropSpec(True, 0.05, 0.5))
    width, height = image.size
    drawn = draw_view(spec, 0, 0, 0, np.arange(8), [width] * 8, [height] * 8)
    for row, (left, top, w, h) in enumerate(drawn.box.astype(int).tolist()):
        theirs = F.resized_crop(
            image, top, left, h, w, [64, 64], interpolation=InterpolationMode.BICUBIC
        )
        assert np.array_equal(crop_view(image, drawn, row, 64, random_crop=True), theirs)


@pytest.mark.parametrize("size", [(32, 64), (427, 640), (640, 427), (50, 50), (33, 47)])
def test_without_a_random_crop_the_shorter_side_is_resized_and_the_centre_kept(size):
    image = Image.fromarray(load_sample_images().images[0]).resize(size[::-1])
    drawn = draw_view(ViewSpec(32, 1), 0, 0, 0, [0], [size[1]], [size[0]])
    theirs = F.resize(image, [32], interpolation=InterpolationMode.BICUBIC)
    theirs = np.asarray(F.center_crop(theirs, [32, 32])).astype(int)
    ours = np.asarray(crop_view(image, drawn, 0, 32, random_crop=False)).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_a_jitter_applies_in_the_order_drawn_and_the_other_operators_after_it():
    image = photographs()[7]
    spec = ViewSpec(
        48,
        1,
        color_jitter=ColorJitterSpec(1.0, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2),
        solarization=SwitchSpec(1.0),
        horizontal_flip=SwitchSpec(1.0),
    )
    drawn = draw_view(spec, 0, 5, 0, np.arange(10), [48] * 10, [48] * 10)
    theirs = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    for row, view in enumerate(draw(spec, image, count=10, seed=5)):
        expected = F.to_dtype(F.to_image(image), torch.float32, scale=True)
        for number in drawn.order[row]:
            expected = theirs[number](expected, drawn.factors[row, number].item())
        expected = F.to_dtype(expected, torch.uint8, scale=True)
        expected = F.horizontal_flip(F.solarize(expected, 128)).permute(1, 2, 0).numpy()
        assert np.abs(view - expected).max() <= 1.01
    assert len(np.unique(drawn.order, axis=0)) > 5


@pytest.mark.parametrize("side", [32, 300])
def test_a_batch_is_rendered_as_its_images_alone_are(side):
    spec = ViewSpec(side, 1, **{k: v for k, v in OPERATORS.items() if k != "affine"})
    pixels = torch.randint(0, 256, (9, side, side, 3), dtype=torch.uint8)
    sizes = np.full(9, side)
    whole = render(pixels, draw_view(spec, 0, 0, 0, np.arange(9), sizes, sizes), IDENTITY)
    for row in range(9):
        alone = draw_view(spec, 0, 0, 0, [row], sizes[:1], sizes[:1])
        one = render(pixels[row : row + 1], alone, IDENTITY)
        # Kernels of a blur are as long as the widest of their batch needs.
        torch.testing.assert_close(one[0], whole[row], atol=1.0, rtol=0)


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
    # The cubic kernel reaches across the edge of the centre by a level.
    assert np.asarray(evaluation_view(large, 224)).min() >= 254
