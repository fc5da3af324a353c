"""The draws and the operators of views: distributions as asked for, pixels as torchvision's."""

import dataclasses

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_images
from torchvision.transforms import InterpolationMode

from solo_ldm.data.augment import photometric
from solo_ldm.data.augment.draws import SATURATION, Uniforms, draw_view
from solo_ldm.data.augment.photometric import Normalise, render
from solo_ldm.data.augment.transforms import crop_view, evaluation_view
from solo_ldm.data.config import (
    AffineSpec,
    BlurSpec,
    ColorJitterSpec,
    CropSpec,
    SwitchSpec,
    ViewSpec,
)


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


@pytest.mark.parametrize("name", OPERATORS)
def test_augmentations_follow_their_probabilities(name):
    # A narrow range of values, so that equalisation has something to do.
    image = picture(16, 16).point([80 + value // 3 for value in range(256)] * 3)
    views = draw(ViewSpec(16, 1, **{name: OPERATORS[name]}), image, count=1000)
    changed = np.mean(np.abs(views - np.asarray(image)).max(axis=(1, 2, 3)) > 1e-3)
    assert abs(changed - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1000)


def test_a_view_without_operators_is_the_image():
    image = picture()
    np.testing.assert_allclose(draw(ViewSpec(32, 1), image)[0], np.asarray(image), atol=1e-4)


# --- the draws -----------------------------------------------------------------------------------


def test_the_numbers_drawn_are_uniform_and_independent():
    def numbers(seed, epoch, view, count=200):
        return Uniforms(seed, epoch, view, np.arange(count, dtype=np.uint64)).take(50)

    base = numbers(0, 0, 0)
    assert 0 <= base.min() < base.max() < 1
    assert stats.kstest(base.ravel(), "uniform").pvalue > 1e-3
    # Neighbouring samples, draws, views, epochs and seeds: 10,000 pairs each.
    pairs = {
        "sample": (base[:-1], base[1:]),
        "draw": (base[:, :-1], base[:, 1:]),
        "view": (base, numbers(0, 0, 1)),
        "epoch": (base, numbers(0, 1, 0)),
        "seed": (base, numbers(1, 0, 0)),
    }
    for name, (one, other) in pairs.items():
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(one.size), name


def test_a_draw_depends_on_neither_its_batch_nor_the_other_operators():
    full = ViewSpec(32, 1, rrc=CropSpec(True), **OPERATORS)
    sizes = np.full(40, 64)
    whole = draw_view(full, 1, 3, 2, np.arange(40), sizes, sizes)
    part = draw_view(full, 1, 3, 2, np.arange(30, 40), sizes[:10], sizes[:10])
    for field in dataclasses.fields(whole):
        np.testing.assert_array_equal(
            getattr(whole, field.name)[30:], getattr(part, field.name), err_msg=field.name
        )
    less = dataclasses.replace(full, affine=AffineSpec(), color_jitter=ColorJitterSpec())
    less = draw_view(less, 1, 3, 2, np.arange(40), sizes, sizes)
    np.testing.assert_array_equal(less.box, whole.box)
    np.testing.assert_array_equal(less.flip, whole.flip)


def test_random_crops_follow_torchvisions_distribution():
    from torchvision.transforms import RandomResizedCrop

    spec = ViewSpec(8, 1, rrc=CropSpec(True, 0.2, 1.0))
    count = 3000
    ours = draw_view(spec, 0, 0, 0, np.arange(count), [60] * count, [40] * count).box
    image = torch.zeros(3, 40, 60)
    theirs = [RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    theirs = np.array(theirs)[:, [1, 0, 3, 2]]
    for column, name in enumerate(("left", "top", "width", "height")):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3, name


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (300, 7), (500, 375)])
def test_a_random_crop_lies_within_the_image(size):
    height, width = size
    spec = ViewSpec(8, 1, rrc=CropSpec(True, 0.08, 1.0))
    box = draw_view(spec, 0, 0, 0, np.arange(500), [width] * 500, [height] * 500).box
    left, top, w, h = box.T
    assert np.array_equal(box, np.rint(box))
    assert min(left.min(), top.min()) >= 0
    assert min(w.min(), h.min()) >= 1
    assert (left + w).max() <= width
    assert (top + h).max() <= height


def test_every_order_of_the_colour_jitter_is_equally_likely():
    spec = ViewSpec(8, 1, color_jitter=ColorJitterSpec(1.0, 0.4, 0.4, 0.4, 0.1))
    order = draw_view(spec, 0, 0, 0, np.arange(4800), [8] * 4800, [8] * 4800).order
    codes, counts = np.unique(order @ np.array([64, 16, 4, 1]), return_counts=True)
    assert len(codes) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_adjustments_without_strength_are_left_out():
    spec = ViewSpec(8, 1, color_jitter=ColorJitterSpec(1.0, saturation=0.4))
    order = draw_view(spec, 0, 0, 0, np.arange(50), [8] * 50, [8] * 50).order
    assert set(order.ravel()) == {-1, SATURATION}


# --- the operators, against torchvision's --------------------------------------------------------


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


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (300, 7)])
def test_any_shape_of_image_gives_a_square_view(size):
    spec = ViewSpec(8, 1, rrc=CropSpec(True, 0.08, 1.0), affine=OPERATORS["affine"])
    assert draw(spec, picture(*size), count=20).shape == (20, 8, 8, 3)


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
    # The cubic kernel reaches across the edge of the centre by a level.
    assert np.asarray(evaluation_view(large, 224)).min() >= 254
