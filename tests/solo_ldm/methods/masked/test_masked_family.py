"""The family of presets: losses as published, what is seen, masks and targets of each kind."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightly.models import utils
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
from skimage.feature import hog
from torch import Tensor

from solo_ldm.backbones import create_backbone
from solo_ldm.commands.shared.inputs import rows_of_features
from solo_ldm.evaluation.spectrum import advice, diagnose, health
from solo_ldm.methods.masked.method import Masked
from solo_ldm.methods.masked.patch_masks import BlockwiseMasks, RandomMasks
from solo_ldm.methods.masked.targets import TokenTargets
from solo_ldm.methods.masked.tokens import encode
from solo_ldm.run.configuration import complete
from tests.support.methods.masked import (
    EPOCH,
    SEED,
    STEP,
    TINY,
    build,
    config,
    images_and_masks,
    noise,
    run,
)

PRESETS = tuple(TINY)
MASK_TOKEN = ("simmim", "maskfeat", "data2vec", "beit")


def doubled(name: str) -> tuple[Masked, Tensor, Tensor, Tensor]:
    """Return a preset in float64, images, what is kept and what is hidden (B, S)."""
    method = build(name=name).double()
    images, kept, targets = images_and_masks(method)
    return method, images.double(), kept, targets[:, 0]


def lightlys_encoder(method: Masked) -> MaskedVisionTransformerTIMM:
    vit = copy.deepcopy(method.backbone)
    token = method.mask_token
    skip = {"weight_initialization": "skip", "pos_embed_initialization": "skip"}
    mask_token = None if token is None else torch.nn.Parameter(token.detach().view(1, 1, -1))
    return MaskedVisionTransformerTIMM(vit, mask_token, **skip)


def lightlys_prediction(method: Masked, images: Tensor, hidden: Tensor) -> Tensor:
    """Return what the head makes of the tokens at hidden places."""
    tokens = lightlys_encoder(method).encode(images, idx_mask=hidden)
    return method.predictor.head(utils.get_at_index(tokens, hidden))


# Losses.


def test_the_loss_of_mae_is_that_of_lightlys_parts():
    method, images, kept, hidden = doubled("mae")
    ours = method.predictor
    decoder = MaskedVisionTransformerDecoderTIMM(64, 8, 1, 2, num_prefix_tokens=0).double()
    decoder.blocks, decoder.norm = ours.blocks, ours.norm
    decoder.pos_embed.data = ours.place[None]
    seen = ours.embed(lightlys_encoder(method).encode(images, idx_keep=kept))
    tokens = ours.mask_token.expand(len(images), 64, -1)
    decoded = decoder(utils.set_at_index(tokens, kept, seen))
    predicted = ours.head(utils.get_at_index(decoded, hidden))
    aims = utils.get_at_index(utils.patchify(images, 2), hidden)
    mean, variance = aims.mean(dim=2, keepdim=True), aims.var(dim=2, keepdim=True)
    expected = F.mse_loss(predicted, (aims - mean) / (variance + 1e-6) ** 0.5)
    loss = method.match(images, kept, hidden[:, None])[0].loss
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=0)


def test_the_loss_of_simmim_is_the_absolute_error_a_hidden_pixel():
    method, images, kept, hidden = doubled("simmim")
    aims = utils.get_at_index(utils.patchify(images, 2), hidden)
    expected = F.l1_loss(lightlys_prediction(method, images, hidden), aims)
    loss = method.match(images, kept, hidden[:, None])[0].loss
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=0)


def test_the_loss_of_maskfeat_is_the_squared_error_of_skimages_histograms():
    method, images, kept, hidden = doubled("maskfeat")
    how = {"pixels_per_cell": (2, 2), "cells_per_block": (1, 1), "block_norm": "L2"}
    aims = torch.tensor(
        np.stack(
            [
                np.concatenate(
                    [hog(channel, 9, feature_vector=False, **how) for channel in image.numpy()],
                    axis=-1,
                ).reshape(64, 27)
                for image in images
            ]
        )
    )
    expected = F.mse_loss(
        lightlys_prediction(method, images, hidden), utils.get_at_index(aims, hidden)
    )
    loss = method.match(images, kept, hidden[:, None])[0].loss
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)


def test_the_loss_of_data2vec_is_the_smooth_l1_of_the_mean_of_normalised_blocks():
    method, images, kept, hidden = doubled("data2vec")
    assert method.target is not None
    with torch.no_grad():
        for value in method.target.parameters():
            value.add_(0.1 * torch.randn_like(value))
    network, left = method.target.get_submodule("backbone"), []
    for block in network.blocks:  # pyright: ignore
        block.register_forward_hook(lambda module, given, out: left.append(out))
    network(images)
    blocks = left[:2]
    mean, spread = ([f(one) for one in blocks] for f in (
        lambda x: x.mean(dim=2, keepdim=True),
        lambda x: (x.var(dim=2, keepdim=True, correction=0) + 1e-5).sqrt(),
    ))  # fmt: skip
    aims = sum((x - m) / s for x, m, s in zip(blocks, mean, spread, strict=True)) / 2
    expected = F.smooth_l1_loss(
        lightlys_prediction(method, images, hidden), utils.get_at_index(aims, hidden), beta=2.0
    )
    loss = method.match(images, kept, hidden[:, None])[0].loss
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=0)


def test_the_loss_of_beit_is_the_cross_entropy_of_the_nearest_centres():
    method, images, kept, hidden = doubled("beit")
    assert isinstance(method.targets, TokenTargets)
    patches = utils.patchify(images, 2)
    mean, variance = patches.mean(dim=2, keepdim=True), patches.var(dim=2, keepdim=True)
    patches = (patches - mean) / (variance + 1e-6).sqrt()
    gaps = (patches[:, :, None] - method.targets.centres).square().sum(dim=3)
    tokens = gaps.argmin(dim=2).gather(1, hidden)
    logits = lightlys_prediction(method, images, hidden)
    expected = F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    loss = method.match(images, kept, hidden[:, None])[0].loss
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=0)


# What the encoder sees, and what learns.


@pytest.mark.parametrize("name", PRESETS)
def test_hidden_pixels_do_not_reach_the_encoder(name):
    method = build(name=name)
    images, kept, _ = images_and_masks(method)
    visible = torch.zeros(len(images), 64).scatter(1, kept, 1.0).view(-1, 1, 8, 8)
    pixels = F.interpolate(visible, scale_factor=2.0) > 0
    changed = torch.where(pixels, images, images + 1.0)
    seen, other = (
        encode(method.backbone, one, kept, method.mask_token) for one in (images, changed)
    )
    assert torch.equal(seen, other)
    assert not torch.equal(seen, encode(method.backbone, images + 1.0, kept, method.mask_token))
    assert seen.shape[1] == (64 if name in MASK_TOKEN else kept.shape[1])


@pytest.mark.parametrize("name", PRESETS)
def test_everything_that_is_trained_has_a_gradient_and_the_data_have_none(name):
    method = build(name=name)
    images, kept, targets = images_and_masks(method)
    method.match(images, kept, targets)[0].loss.backward()
    trained = {id(value) for group in method.learnable_params for value in group["params"]}
    for parameter, value in method.named_parameters():
        learns = value.requires_grad and not parameter.startswith("classifier")
        assert learns == (value.grad is not None and value.grad.abs().max().item() > 0), parameter
        assert not learns or id(value) in trained
    assert (method.mask_token is None) == (name not in MASK_TOKEN)


def test_an_encoder_with_mask_tokens_may_have_a_deep_predictor():
    method = build("method_kwargs.pred_depth=1", name="simmim")
    images, kept, targets = images_and_masks(method)
    method.match(images, kept, targets)[0].loss.backward()
    assert method.mask_token is not None
    assert method.mask_token.grad is not None
    assert method.predictor.mask_token.grad is not None


def test_data_as_targets_need_nothing_against_collapse_and_may_have_an_entropy():
    method = build("method_kwargs.target=same", name="mae")
    assert method.target is None
    assert not method.learns_whole
    spread = build("method_kwargs.entropy=logdet", name="mae")
    images, kept, targets = images_and_masks(spread)
    terms = spread.match(images, kept, targets)[0]
    torch.testing.assert_close(terms.loss, -terms.log_prob - terms.entropy)
    assert terms.entropy != 0.0


# Masks.


@pytest.mark.parametrize("masks", [RandomMasks, BlockwiseMasks])
@pytest.mark.parametrize(("grid", "share"), [((14, 14), 0.4), ((7, 9), 0.75), ((4, 4), 0.9)])
def test_masks_of_a_share_hide_just_that_and_leave_the_rest(masks, grid, share):
    drawn = masks(grid, share).draw(SEED, EPOCH, STEP, range(50))
    count = grid[0] * grid[1]
    hidden = -int(-count * share // 1)
    assert drawn.targets.shape == (50, 1, hidden)
    assert drawn.smallest_context == count - hidden
    for target, kept in zip(drawn.targets[:, 0], drawn.context(count - hidden), strict=True):
        assert sorted([*target, *kept]) == list(range(count))
    assert len({tuple(target) for target in drawn.targets[:, 0]}) > 10


@pytest.mark.parametrize("masks", [RandomMasks, BlockwiseMasks])
def test_masks_of_a_share_are_a_function_of_seed_epoch_and_image(masks):
    drawn = masks((14, 14), 0.6).draw(SEED, EPOCH, STEP, range(9)).targets
    alone = masks((14, 14), 0.6).draw(SEED, EPOCH, STEP + 1, [7]).targets
    assert np.array_equal(drawn[7], alone[0])
    for seed, epoch in ((SEED + 1, EPOCH), (SEED, EPOCH + 1)):
        assert not np.array_equal(masks((14, 14), 0.6).draw(seed, epoch, STEP, [7]).targets, alone)


def test_random_masks_hide_every_patch_as_often_and_whole_units():
    targets = RandomMasks((6, 6), 0.5).draw(SEED, EPOCH, STEP, range(4000)).targets
    often = np.bincount(targets.ravel(), minlength=36) / 4000
    assert np.abs(often - 0.5).max() < 0.05
    for target in RandomMasks((6, 6), 0.5, 2).draw(SEED, EPOCH, STEP, range(20)).targets[:, 0]:
        hidden = np.zeros(36, dtype=bool)
        hidden[target] = True
        units = hidden.reshape(3, 2, 3, 2).sum(axis=(1, 3))
        assert set(units.ravel()) == {0, 4}
        assert (units == 4).sum() == 5  # ⌈0.5 · 9⌉


def test_blockwise_masks_hang_together_more_than_random_ones():
    def neighbours(masks):
        hidden = np.zeros((200, 196), dtype=bool)
        targets = masks((14, 14), 0.4).draw(SEED, EPOCH, STEP, range(200)).targets[:, 0]
        np.put_along_axis(hidden, targets, True, axis=1)
        hidden = hidden.reshape(-1, 14, 14)
        return (hidden[:, 1:] & hidden[:, :-1]).mean() / 0.4

    assert neighbours(RandomMasks) < 0.45
    assert neighbours(BlockwiseMasks) > 0.75


# A codebook.


def test_a_codebook_is_a_function_of_the_images_and_the_seed_and_is_found_once():
    first, second = (build(name="beit").targets for _ in range(2))
    assert isinstance(first, TokenTargets)
    assert isinstance(second, TokenTargets)
    assert torch.equal(first.centres, second.centres)
    assert first(noise(50, 5), ()).unique().tolist() == list(range(8))
    before = first.centres.clone()
    first.prepare(lambda most: [(noise(most, seed=9), None)], seed=1)
    assert torch.equal(first.centres, before)
    fresh = TokenTargets(build(name="beit").backbone, 65)
    with pytest.raises(ValueError, match="num_tokens: expected at most 64, the patches"):
        fresh.prepare(lambda most: [(noise(1, seed=9), None)], seed=1)


def test_more_tokens_than_patches_are_refused_before_anything_is_written(tmp_path):
    told = r"num_tokens: expected at most 11072, the patches of the 173 .* got 20000; lower it"
    with pytest.raises(ValueError, match=told):
        run(tmp_path, "method_kwargs.num_tokens=20000", name="beit")
    with pytest.raises(ValueError, match=r"num_tokens: expected .* from 2"):
        run(tmp_path, "method_kwargs.num_tokens=1", name="beit")
    assert not any(tmp_path.iterdir())


def test_summaries_say_that_features_are_means_of_patches_and_headlines_what_the_model_is():
    method = build(name="simmim")
    assert rows_of_features(method.backbone) == [("features", "mean of the tokens of patches")]
    assert rows_of_features(create_backbone("convnet_small", 16)) == []
    headline = Masked.describe(complete(config(name="simmim"))).headline
    assert "no entropy, huber on the plane, pixels as targets" in headline


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        ("simmim", [], "Lower optimizer.lr, or give method_kwargs.entropy."),
        ("data2vec", [], "Raise method_kwargs.base_tau, or lower optimizer.lr, or give "),
        ("ijepa", ["method_kwargs.target=detached"], "or set method_kwargs.target=moving_average."),
        ("ijepa", ["method_kwargs.entropy=sliced"], "Raise method_kwargs.entropy_weight or optim"),
    ],
)
def test_advice_against_collapse_names_keys_of_the_method(name, overrides, told):
    cfg = complete(config(*overrides, name=name))
    settings = Masked.describe(cfg).settings
    line = advice(settings)
    assert told in line
    complete_keys = {*settings, *settings["latent_kwargs"], *settings["entropy_kwargs"]}
    for explosion in (False, True):
        keys = re.findall(r"method_kwargs\.(\w+)", advice(settings, explosion))
        assert complete_keys >= {*keys}
    point = health(torch.ones(64, 4))
    assert line in (diagnose(point, sphere=False, settings=settings) or "")
