"""Views at other strengths, what evaluation keeps of an image, and normalisation."""

from __future__ import annotations

import math

import pytest
import torch

from solo_ldm.data.augment.photometric import Normalise
from solo_ldm.data.augment.strength import at_strength
from solo_ldm.data.augment.transforms import evaluation_box
from solo_ldm.data.config import (
    AffineSpec,
    BlurSpec,
    ColorJitterSpec,
    CropSpec,
    SwitchSpec,
    ViewSpec,
)

FULL = ViewSpec(
    32,
    3,
    rrc=CropSpec(True, 0.2, 0.9, 0.5, 2.0),
    affine=AffineSpec(0.3, 40.0, 0.4, 0.5, 2.0, 30.0),
    color_jitter=ColorJitterSpec(0.8, 0.4, 0.3, 0.2, 0.2),
    grayscale=SwitchSpec(0.2),
    gaussian_blur=BlurSpec(0.6, 0.1, 2.0),
    solarization=SwitchSpec(0.3),
    equalization=SwitchSpec(0.4),
    horizontal_flip=SwitchSpec(0.5),
)


def expected(s: float) -> ViewSpec:
    """At s = 0.5 and at s = 4, where ranges end, by hand."""
    return {
        0.5: ViewSpec(
            32,
            1,
            rrc=CropSpec(True, 0.6, 0.95, math.sqrt(0.5), math.sqrt(2.0)),
            affine=AffineSpec(0.3, 20.0, 0.2, math.sqrt(0.5), math.sqrt(2.0), 15.0),
            color_jitter=ColorJitterSpec(0.8, 0.2, 0.15, 0.1, 0.1),
            grayscale=SwitchSpec(0.1),
            gaussian_blur=BlurSpec(0.6, 0.05, 1.0),
            solarization=SwitchSpec(0.15),
            equalization=SwitchSpec(0.2),
            horizontal_flip=SwitchSpec(0.25),
        ),
        4.0: ViewSpec(
            32,
            1,
            rrc=CropSpec(True, 0.02, 0.6, 0.5**4, 2.0**4),
            affine=AffineSpec(0.3, 160.0, 1.0, 0.5**4, 2.0**4, 89.0),
            color_jitter=ColorJitterSpec(0.8, 1.6, 1.2, 0.8, 0.5),
            grayscale=SwitchSpec(0.8),
            gaussian_blur=BlurSpec(0.6, 0.4, 8.0),
            solarization=SwitchSpec(1.0),
            equalization=SwitchSpec(1.0),
            horizontal_flip=SwitchSpec(0.5),
        ),
    }[s]


@pytest.mark.parametrize("strength", [0.5, 4.0])
def test_ranges_are_scaled_about_what_changes_nothing(strength):
    ours, theirs = at_strength(FULL, strength), expected(strength)
    assert (ours.crop_size, ours.num_crops) == (32, 1)
    for name in (
        *("rrc", "affine", "color_jitter", "grayscale", "gaussian_blur"),
        *("solarization", "equalization", "horizontal_flip"),
    ):
        found, wanted = vars(getattr(ours, name)), vars(getattr(theirs, name))
        assert found == pytest.approx(wanted, abs=1e-12), name
    assert at_strength(FULL, 5.0).affine.degrees == 180.0


def test_strength_one_is_the_view_and_strength_zero_the_whole_image():
    one = at_strength(FULL, 1.0)
    assert vars(one.rrc) == pytest.approx(vars(FULL.rrc))
    assert {**vars(one), "rrc": FULL.rrc} == {**vars(FULL), "num_crops": 1}
    none = at_strength(FULL, 0.0)
    assert none.rrc == CropSpec(True, 1.0, 1.0, 1.0, 1.0)
    assert (none.affine.degrees, none.affine.scale_min, none.color_jitter.hue) == (0.0, 1.0, 0.0)
    assert none.grayscale.prob == none.horizontal_flip.prob == none.gaussian_blur.sigma_max == 0.0
    assert at_strength(ViewSpec(32, 1), 2.0).rrc == CropSpec()
    with pytest.raises(ValueError, match=r"strength: expected at least 0, got -0\.5"):
        at_strength(FULL, -0.5)
    with pytest.raises(ValueError, match="strength: expected at least 0, got nan"):
        at_strength(FULL, float("nan"))


@pytest.mark.parametrize(
    ("width", "height", "crop", "box"),
    [
        (64, 64, 32, (0, 0, 64, 64)),
        (300, 300, 300, (0, 0, 300, 300)),
        (65, 65, 224, (4.0625, 4.0625, 60.9375, 60.9375)),
        (256, 256, 224, (16, 16, 240, 240)),
        (512, 256, 224, (144, 16, 368, 240)),
        (64, 32, 28, (18, 2, 46, 30)),
        # Resized to 34 by 340 of which 30 are kept, with margins of 2 and 155.
        (500, 50, 30, (7750 / 34, 100 / 34, 9250 / 34, 1600 / 34)),
    ],
)
def test_evaluation_keeps_small_squares_whole_and_of_others_the_centre(width, height, crop, box):
    assert evaluation_box(width, height, crop) == pytest.approx(box)


def test_a_box_ends_at_the_border_of_the_image_at_most():
    for width in range(1, 120, 7):
        for height in range(1, 120, 5):
            left, top, right, bottom = evaluation_box(width, height, 28)
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


def test_values_are_normalised_by_mean_and_deviation_of_each_channel_in_place():
    images = torch.tensor([0.0, 51.0, 255.0]).view(1, 3, 1, 1)
    ours = Normalise((0.5, 0.2, 0.0), (0.5, 0.1, 0.25))(images)
    torch.testing.assert_close(ours.flatten(), torch.tensor([-1.0, 0.0, 4.0]))
    assert ours is images
