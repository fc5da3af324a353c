"""Masks of blocks, and the positions that patches and predictions have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from solo_ldm.methods.masked.masks import BlockMasks
from solo_ldm.methods.masked.tokens import encode, patches_of, positions
from tests.support.methods.masked import EPOCH, SEED, STEP, build, images_and_masks

# Masks.


@pytest.mark.parametrize("grid", [(8, 8), (7, 7), (14, 14), (12, 16)])
def test_targets_are_rectangles_within_the_ranges_of_share_and_aspect(grid):
    rows, columns = grid
    masks = BlockMasks(grid)
    for step in range(20):
        targets = masks.draw(SEED, EPOCH, step, range(5)).targets
        assert targets.shape[:2] == (5, 4)
        for block in targets.reshape(-1, targets.shape[2]):
            row, column = np.divmod(block, columns)
            height, width = np.ptp(row) + 1, np.ptp(column) + 1
            assert len(set(block.tolist())) == height * width == len(block)
            assert set(block.tolist()) <= set(range(rows * columns))
            assert 0.15 - 1e-9 <= height * width / (rows * columns) <= 0.2 + 1e-9
            assert 0.75 <= height / width <= 1.5


def test_blocks_take_every_size_and_place_that_fits():
    masks = BlockMasks((14, 14), num_targets=3, target_scale=(0.1, 0.3))
    drawn = [masks.draw(SEED, EPOCH, step, range(400)).targets for step in range(40)]
    assert len({one.shape[2] for one in drawn}) > 8
    assert {int(patch) for one in drawn for patch in one.ravel()} == set(range(196))


def test_the_context_holds_no_target_and_at_least_so_many_patches():
    masks = BlockMasks((8, 8), least_context=14)
    for step in range(10):
        drawn = masks.draw(SEED, EPOCH, step, range(64))
        context = drawn.context(14)
        for kept, targets in zip(context, drawn.targets, strict=True):
            assert len(set(kept.tolist())) == 14
            assert not set(kept.tolist()) & set(targets.ravel().tolist())


def test_the_context_is_a_block_of_its_share_without_the_targets():
    masks = BlockMasks((14, 14), num_targets=1, context_scale=(0.25, 0.26), least_context=1)
    drawn = masks.draw(SEED, EPOCH, STEP, range(50))
    for visible, targets in zip(drawn.visible, drawn.targets, strict=True):
        row, column = np.divmod(np.flatnonzero(visible), 14)
        assert max(np.ptp(row), np.ptp(column)) < 7
        # Forty-nine patches, less those of a target of at most 39.
        assert 10 <= visible.sum() <= 49
        assert not visible[targets.ravel()].any()


def test_masks_are_a_function_of_seed_epoch_step_and_image():
    masks = BlockMasks((14, 14))

    def drawn(seed: int, epoch: int, samples: list[int]) -> tuple[Any, Any]:
        one = masks.draw(seed, epoch, STEP, samples)
        return one.targets, one.context(10)

    targets, context = drawn(SEED, EPOCH, [5, 9])
    again, alone = drawn(SEED, EPOCH, [5, 9]), drawn(SEED, EPOCH, [9])
    for one, other in zip((targets, context), again, strict=True):
        assert np.array_equal(one, other)
    # Not of the other images of the batch, nor of the place in it.
    for one, other in zip((targets, context), alone, strict=True):
        assert np.array_equal(one[1], other[0])
    assert not np.array_equal(targets[0], targets[1])
    for seed, epoch in ((SEED + 1, EPOCH), (SEED, EPOCH + 1)):
        others = masks.draw(seed, epoch, STEP, [5, 9]).targets
        assert others.shape != targets.shape or not np.array_equal(others, targets)


# Positions and the encoder.


def test_positions_are_sines_and_cosines_of_row_and_column():
    dim, columns = 12, 5
    table = positions(3, columns, dim)
    for row in range(3):
        for column in range(columns):
            expected = []
            for place in (row, column):
                angles = [place / 10000 ** (k / (dim / 4)) for k in range(dim // 4)]
                expected += [*map(math.sin, angles), *map(math.cos, angles)]
            torch.testing.assert_close(table[row * columns + column], torch.tensor(expected))


def test_fixed_positions_are_what_patches_get_and_are_not_trained():
    method = build("+backbone.kwargs.reg_tokens=1")
    torch.testing.assert_close(method.backbone.pos_embed[0, 1:], positions(8, 8, 16))
    assert not method.backbone.pos_embed.requires_grad
    assert not method.backbone.pos_embed[0, 0].any()
    assert build("method_kwargs.positions=learned").backbone.pos_embed.requires_grad


PREFIXES = pytest.mark.parametrize(
    "prefix", [(), ("backbone.kwargs.class_token=true", "+backbone.kwargs.reg_tokens=2")], ids=str
)


@PREFIXES
def test_the_encoder_with_all_patches_is_timms(prefix):
    vit = build(*prefix).backbone
    images = torch.randn(4, 3, 16, 16)
    everything = torch.arange(64).expand(4, -1)
    expected = vit.forward_features(images)
    torch.testing.assert_close(encode(vit, images), expected)
    torch.testing.assert_close(encode(vit, images, everything), expected)
    torch.testing.assert_close(vit.forward_head(encode(vit, images)), vit(images))
    torch.testing.assert_close(patches_of(vit, expected).mean(dim=1), vit(images))


@PREFIXES
def test_pixels_of_patches_that_are_not_kept_do_not_reach_the_context(prefix):
    method = build(*prefix)
    images, kept, _ = images_and_masks(method)
    images.requires_grad_()
    encode(method.backbone, images, kept).square().sum().backward()
    assert images.grad is not None
    touched = images.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum(dim=(1, 4, 5)).flatten(1) > 0
    expected = torch.zeros(len(images), 64, dtype=torch.bool).scatter(1, kept, True)
    assert torch.equal(touched, expected)
