"""Augmented views weaker or stronger than those of a training."""

from __future__ import annotations

from dataclasses import replace

from solo_ldm.data.config import CropSpec, SwitchSpec, ViewSpec

# A stronger crop keeps at least this share of the area.
_SMALLEST_CROP = 0.02


def at_strength(view: ViewSpec, strength: float) -> ViewSpec:
    """Scale the operators of a view: 0 leaves the image as it is, 1 is the view itself.

    Ranges are multiplied by the strength about the value that changes nothing (factors and aspect
    ratios in the logarithm). Operators without a range are applied with a probability multiplied by
    it, up to 1; flips, which distort nothing, at most with that of the view.

    Args:
        view: as trained with.
        strength: s ≥ 0.

    Returns:
        One crop of the same size.

    Raises:
        ValueError: a negative strength.
    """
    if not strength >= 0.0:
        raise ValueError(f"strength: expected at least 0, got {strength}")
    crop, affine, jitter, blur = view.rrc, view.affine, view.color_jitter, view.gaussian_blur
    flip = view.horizontal_flip
    return replace(
        view,
        num_crops=1,
        rrc=replace(
            crop,
            crop_min_scale=_share(crop.crop_min_scale, strength),
            crop_max_scale=_share(crop.crop_max_scale, strength),
            min_aspect_ratio=crop.min_aspect_ratio**strength,
            max_aspect_ratio=crop.max_aspect_ratio**strength,
        )
        if crop.enabled
        else CropSpec(),
        affine=replace(
            affine,
            degrees=min(180.0, strength * affine.degrees),
            translate=min(1.0, strength * affine.translate),
            scale_min=affine.scale_min**strength,
            scale_max=affine.scale_max**strength,
            shear=min(89.0, strength * affine.shear),
        ),
        color_jitter=replace(
            jitter,
            brightness=strength * jitter.brightness,
            contrast=strength * jitter.contrast,
            saturation=strength * jitter.saturation,
            hue=min(0.5, strength * jitter.hue),
        ),
        gaussian_blur=replace(
            blur, sigma_min=strength * blur.sigma_min, sigma_max=strength * blur.sigma_max
        ),
        grayscale=_switch(view.grayscale, strength),
        solarization=_switch(view.solarization, strength),
        equalization=_switch(view.equalization, strength),
        horizontal_flip=SwitchSpec(min(1.0, strength) * flip.prob),
    )


def _share(share: float, strength: float) -> float:
    return max(_SMALLEST_CROP, 1.0 - strength * (1.0 - share))


def _switch(operator: SwitchSpec, strength: float) -> SwitchSpec:
    return SwitchSpec(min(1.0, strength * operator.prob))
