"""Features averaged over patches of an image."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from solo_ldm.evaluation.patches import PatchMean


def test_one_patch_is_the_middle_of_the_image_at_its_size():
    images = torch.randn(2, 3, 16, 16)
    middle = interpolate(images[..., 4:12, 4:12], (16, 16), mode="bicubic")
    torch.testing.assert_close(PatchMean(nn.Flatten(), 1, 0.25)(images), middle.flatten(1))


def test_patches_of_the_whole_area_are_the_image():
    images = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(PatchMean(nn.Flatten(), 3, 1.0)(images), images.flatten(1))


def test_features_are_the_mean_over_patches_that_fill_the_image_evenly():
    """With brightness as the feature, many patches see the middle of a ramp and reach its ends."""
    ramp = torch.linspace(-1.0, 1.0, 32).expand(1, 3, 32, 32)
    seen: list[float] = []

    class Brightness(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(float(x.mean()))
            return x.mean(dim=(2, 3))

    mean = PatchMean(Brightness(), 64, 0.25)(ramp)
    assert mean.abs().max() < 0.05
    assert len(seen) == 64
    assert min(seen) < -0.45
    assert max(seen) > 0.45


def test_settings_out_of_their_range_are_one_line():
    for number, share in ((0, 0.25), (4, 0.0), (4, 1.5)):
        with pytest.raises(ValueError, match="expected"):
            PatchMean(nn.Flatten(), number, share)
