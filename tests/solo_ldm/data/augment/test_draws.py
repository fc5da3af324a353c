"""The draws of views: distributions as asked for, whatever the batch and the image."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from solo_ldm.data.augment.draws import SATURATION, Uniforms, draw_view
from solo_ldm.data.config import AffineSpec, ColorJitterSpec, CropSpec, ViewSpec
from tests.support.data.views import OPERATORS, draw, picture


@pytest.mark.parametrize("name", OPERATORS)
def test_augmentations_follow_their_probabilities(name):
    # A narrow range of values, so that equalisation has something to do.
    image = picture(16, 16).point([80 + value // 3 for value in range(256)] * 3)
    views = draw(ViewSpec(16, 1, **{name: OPERATORS[name]}), image, count=250)
    changed = np.mean(np.abs(views - np.asarray(image)).max(axis=(1, 2, 3)) > 1e-3)
    assert abs(changed - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 250)


def test_a_view_without_operators_is_the_image():
    image = picture()
    np.testing.assert_allclose(draw(ViewSpec(32, 1), image)[0], np.asarray(image), atol=1e-4)


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


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (300, 7)])
def test_any_shape_of_image_gives_a_square_view(size):
    spec = ViewSpec(8, 1, rrc=CropSpec(True, 0.08, 1.0), affine=OPERATORS["affine"])
    assert draw(spec, picture(*size), count=20).shape == (20, 8, 8, 3)


def test_small_affine_shifts_move_eight_pixel_images():
    image = picture(8, 8)
    views = draw(ViewSpec(8, 1, affine=AffineSpec(1.0, translate=0.1)), image, count=50)
    assert len({view.tobytes() for view in views}) > 40
