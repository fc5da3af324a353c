"""The numbers behind views: the generator's own, and each operator's range and order of draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solo_ldm.data.augment import draws
from solo_ldm.data.augment.draws import Uniforms, ViewParameters, centre_box, draw_view
from solo_ldm.data.augment.pairs import Partners, of_partner
from solo_ldm.data.config import (
    AffineSpec,
    BlurSpec,
    ColorJitterSpec,
    CropSpec,
    SwitchSpec,
    ViewSpec,
)
from tests.support.data.splitmix import GOLDEN, WORD, finalise, numbers

SAMPLES = np.array([0, 1, 7, 2**40])
COUNT = len(SAMPLES)


def test_the_finaliser_is_that_of_splitmix64():
    """The first outputs of the published generator at seed 0."""
    counters = np.arange(1, 4, dtype=np.uint64) * np.uint64(GOLDEN)
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert draws._mix(counters).tolist() == published
    assert [finalise((step * GOLDEN) & WORD) for step in (1, 2, 3)] == published


def test_uniform_numbers_are_the_generators_in_a_fixed_order():
    uniforms = Uniforms(3, 5, 1, SAMPLES)
    parts = [uniforms.take(3), uniforms.between(-1.0, 3.0)[:, None], uniforms.take(2)]
    chance = uniforms.chance(0.5)
    expected = np.array([numbers(sample, 7) for sample in SAMPLES.tolist()])
    np.testing.assert_array_equal(parts[0], expected[:, :3])
    np.testing.assert_array_equal(parts[1], -1.0 + 4.0 * expected[:, 3:4])
    np.testing.assert_array_equal(parts[2], expected[:, 4:6])
    np.testing.assert_array_equal(chance, expected[:, 6] < 0.5)


AFFINE = AffineSpec(0.7, degrees=40, translate=0.3, scale_min=0.5, scale_max=1.5, shear=30)
JITTER = ColorJitterSpec(0.7, brightness=0.1, contrast=0.4, saturation=1.8, hue=0.2)
CROP = CropSpec(True, 0.3, 0.9, 0.6, 1.5)


def affine_by_hand(u, width, height):
    """Six numbers to the map from the output to the source, by inverting c + t + s R S (p − c)."""
    angle, shift_x, shift_y, shear = (
        bound * (2.0 * one - 1.0)
        for one, bound in zip((u[1], u[2], u[3], u[5]), (40.0, 0.3, 0.3, 30.0), strict=True)
    )
    scale = 0.5 + u[4]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    sheared = np.array([[1.0, -math.tan(math.radians(shear)), 0.0], [0, 1, 0], [0, 0, 1]])
    there, back = np.eye(3), np.eye(3)
    there[:2, 2] = -width / 2, -height / 2
    back[:2, 2] = width / 2 + shift_x * width, height / 2 + shift_y * height
    forwards = back @ np.diag([scale, scale, 1.0]) @ rotation @ sheared @ there
    return np.linalg.inv(forwards)[:2].ravel() if u[0] < 0.7 else np.array([1.0, 0, 0, 0, 1, 0])


def crop_by_hand(u, width, height):
    """Torchvision's rule: up to ten tries, then the centre at the nearest allowed ratio."""
    for share, ratio in zip(u[:10], u[10:20], strict=True):
        area = width * height * (0.3 + 0.6 * share)
        aspect = math.exp(math.log(0.6) + (math.log(1.5) - math.log(0.6)) * ratio)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return [int(u[20] * (width - w + 1)), int(u[21] * (height - h + 1)), w, h]
    ratio = min(max(width / height, 0.6), 1.5)
    w = width if width / height == ratio or width / height < 0.6 else round(height * ratio)
    h = height if width / height == ratio or width / height > 1.5 else round(width / ratio)
    return [(width - w) // 2, (height - h) // 2, w, h]


def jitter_by_hand(u):
    order = np.argsort(u[1:5])
    bounds = [(0.9, 1.1), (0.6, 1.4), (0.0, 2.8), (-0.2, 0.2)]
    factors = [low + (high - low) * one for one, (low, high) in zip(u[5:9], bounds, strict=True)]
    return (order if u[0] < 0.7 else [-1] * 4), factors


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (31, 32), (7, 300), (301, 8), (2, 2), (1, 3)])
def test_a_view_is_what_its_numbers_say(size):
    """In the order affine, crop, jitter, grayscale, blur, solarisation, equalisation, flip."""
    height, width = size
    samples = np.arange(60)
    spec = ViewSpec(
        8,
        1,
        rrc=CROP,
        affine=AFFINE,
        color_jitter=JITTER,
        grayscale=SwitchSpec(0.3),
        gaussian_blur=BlurSpec(0.4, 0.2, 1.7),
        solarization=SwitchSpec(0.5),
        equalization=SwitchSpec(0.6),
        horizontal_flip=SwitchSpec(0.7),
    )
    drawn = draw_view(spec, 1, 3, 5, samples, [width] * 60, [height] * 60)
    assert drawn.affine is not None
    for row in range(60):
        u = numbers(row)
        np.testing.assert_allclose(
            drawn.affine[row], affine_by_hand(u[:6], width, height), atol=1e-9
        )
        assert drawn.box[row].tolist() == crop_by_hand(u[6:28], width, height)
        order, factors = jitter_by_hand(u[28:37])
        np.testing.assert_array_equal(drawn.order[row], order)
        np.testing.assert_allclose(drawn.factors[row], factors, atol=1e-12)
        assert drawn.grayscale[row] == (u[37] < 0.3)
        assert drawn.sigma[row] == pytest.approx(0.2 + 1.5 * u[39] if u[38] < 0.4 else 0.0)
        switches = (drawn.solarize[row], drawn.equalize[row], drawn.flip[row])
        assert switches == (u[40] < 0.5, u[41] < 0.6, u[42] < 0.7)


def test_a_crop_reaches_the_last_column_and_row_and_the_smallest_shares():
    """A share that leaves one place in four: each is drawn."""
    spec = ViewSpec(8, 1, rrc=CropSpec(True, 0.25, 0.25, 1.0, 1.0))
    box = draw_view(spec, 0, 0, 0, np.arange(400), [4] * 400, [4] * 400).box
    assert {tuple(one) for one in box.tolist()} == {
        (left, top, 2.0, 2.0) for left in (0.0, 1.0, 2.0) for top in (0.0, 1.0, 2.0)
    }


@pytest.mark.parametrize(
    ("size", "ratios", "kept"),
    [
        ((1, 9), (0.5, 2.0), (2, 1)),
        ((9, 1), (0.5, 2.0), (1, 2)),
        ((1, 9), (0.3, 0.4), (1, 1)),
        ((9, 1), (2.5, 3.0), (1, 1)),
    ],
)
def test_where_no_try_fits_the_centre_is_kept_at_the_nearest_ratio_and_a_pixel_at_least(
    size, ratios, kept
):
    height, width = size
    spec = ViewSpec(8, 1, rrc=CropSpec(True, 0.9, 1.0, *ratios))
    box = draw_view(spec, 0, 0, 0, np.arange(3), [width] * 3, [height] * 3).box
    assert {tuple(one) for one in box[:, 2:].astype(int).tolist()} == {kept}
    assert set(box[:, :2].max(axis=1)) == {float((9 - max(kept)) // 2)}


def test_an_adjustment_without_range_or_a_view_without_one_is_left_out():
    sizes = np.full(COUNT, 8)
    jitter = ColorJitterSpec(1.0, brightness=0.2, hue=0.1)
    plain = draw_view(ViewSpec(8, 1, color_jitter=jitter), 0, 0, 0, SAMPLES, sizes, sizes)
    assert plain.affine is None
    assert set(plain.order.ravel()) == {-1, draws.BRIGHTNESS, draws.HUE}
    assert (draws.BRIGHTNESS, draws.CONTRAST, draws.SATURATION, draws.HUE) == (0, 1, 2, 3)


def test_the_centre_box_is_torchvisions_resize_and_centre_crop():
    """Resized to 8 · 40 / 30 = 10.67 → 10 across, of which 8 with a margin of 1."""
    box = centre_box(np.array([40.0, 30.0]), np.array([30.0, 40.0]), 8)
    np.testing.assert_allclose(box, [[4.0, 0.0, 32.0, 30.0], [0.0, 4.0, 30.0, 32.0]])
    box = centre_box(np.array([40.0]), np.array([40.0]), 8, resized_side=10)
    np.testing.assert_allclose(box, [[4.0, 4.0, 32.0, 32.0]])


def test_rows_of_parameters_are_those_of_the_images():
    sizes = np.full(COUNT, 8)
    spec = ViewSpec(8, 1, affine=AFFINE)
    whole = draw_view(spec, 0, 0, 0, SAMPLES, sizes, sizes)
    some = whole.rows(slice(1, 3))
    assert isinstance(some, ViewParameters)
    assert some.affine is not None
    assert whole.affine is not None
    np.testing.assert_array_equal(some.affine, whole.affine[1:3])
    np.testing.assert_array_equal(some.flip, whole.flip[1:3])


@pytest.mark.parametrize("match", [0.0, 0.4, 1.0])
def test_a_partner_is_the_place_that_its_numbers_say_stepping_over_what_is_left_out(match):
    """Among the others of its class, or among those of other classes, in the order of classes."""
    labels = np.array([2, 0, 1, 1, 0, 2, 2, 7, 7])
    partners = Partners(labels, match, 3, "toys")
    for epoch in range(20):
        found = partners(epoch, np.arange(9))
        for index in range(9):
            u = numbers(index, 2, 3, epoch, 2**32)
            same = (labels == labels[index]) & (np.arange(9) != index)
            wanted = same if u[0] < match else labels != labels[index]
            candidates = [one for one in np.argsort(labels, kind="stable") if wanted[one]]
            assert found[index] == candidates[int(u[1] * len(candidates))]


def test_partners_need_labels_another_of_the_class_and_another_class():
    for labels, match, message in (
        ([0, 0, -1], 0.5, "got 1 of the 3 of toys without one"),
        ([0, 0, 1], 0.1, "has a class of one training image"),
        ([0, 0, 0], 0.9, "are all of one; set data.pair_match=1"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            Partners(np.array(labels), match, 0, "toys")
        assert "\n" not in str(error.value)
    assert Partners(np.array([0, 0, 1]), 0.0, 0, "toys")(0, [2])[0] in (0, 1)
    assert Partners(np.array([0, 0]), 1.0, 0, "toys")(0, [0, 1]).tolist() == [1, 0]
    assert [of_partner(view) for view in range(4)] == [False, True, False, True]


def test_numbers_do_not_depend_on_how_many_are_taken_at_a_time():
    together = Uniforms(3, 5, 1, SAMPLES).take(230)
    one = Uniforms(3, 5, 1, SAMPLES)
    parts = [one.take(count) for count in (1, 49, 2, 1, 120, 50, 7)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), together)
