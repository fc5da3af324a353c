"""V-JEPA: tubelets and their places, tubes that hide them, and runs on the embedded clips."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_module

from solo_ldm.backbones import TubeletEmbed, create_backbone, load_backbone
from solo_ldm.backbones.video import tubelet_positions
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data.datasets.moving_dots import clips
from solo_ldm.methods.masked.patch_masks import RandomMasks
from solo_ldm.methods.masked.tokens import encode
from solo_ldm.methods.masked.tubes import RangeMasks, Tubes
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from tests.support.methods.clips import SIDE, TIMES, build, noise, run
from tests.support.methods.masked import collapse_is_expected, state_of

N = TIMES * SIDE * SIDE


def drawn(method, count=4, step=0):
    masks = method.masks.draw(3, 1, step, range(count))
    return torch.from_numpy(masks.context(masks.smallest_context)), torch.from_numpy(masks.targets)


# Tubelets.


@pytest.mark.parametrize("colours", [1, 3])
def test_tubelets_are_embedded_as_a_convolution_over_three_axes_does(colours):
    torch.manual_seed(0)
    embed = TubeletEmbed(16, 4, in_chans=6 * colours, embed_dim=8, tubelet=2, colours=colours)
    x = torch.randn(3, 6 * colours, 16, 16)
    kernel = embed.proj.weight.unflatten(1, (2, colours)).transpose(1, 2)
    video = x.unflatten(1, (6, colours)).transpose(1, 2)
    theirs = F.conv3d(video, kernel, embed.proj.bias, stride=(2, 4, 4)).flatten(2).mT
    torch.testing.assert_close(embed(x), theirs, atol=1e-5, rtol=0)
    assert embed.grid_size == (3, 4, 4)


def test_positions_are_sines_and_cosines_of_time_row_and_column():
    table = tubelet_positions(3, 2, 5, 16).reshape(3, 2, 5, 16)
    for t, r, c in ((0, 0, 0), (2, 1, 4), (1, 0, 3)):
        expected = []
        for place, size in ((t, 8), (r, 4), (c, 4)):
            omega = [10000.0 ** (-2 * k / size) for k in range(size // 2)]
            expected += [math.sin(place * w) for w in omega]
            expected += [math.cos(place * w) for w in omega]
        torch.testing.assert_close(table[t, r, c], torch.tensor(expected), atol=1e-6, rtol=0)
    method = build()
    places = tubelet_positions(TIMES, SIDE, SIDE, 16)
    torch.testing.assert_close(method.backbone.pos_embed[0], places)
    torch.testing.assert_close(method.predictor.place, tubelet_positions(TIMES, SIDE, SIDE, 8))


# Tubes.


@pytest.mark.parametrize("step", range(6))
def test_a_tube_hides_the_same_patches_in_every_frame(step):
    method = build()
    kept, targets = drawn(method, step=step)
    for of_context, of_targets in zip(kept, targets, strict=True):
        seen, hidden = torch.zeros(N, dtype=torch.bool), torch.zeros(N, dtype=torch.bool)
        seen[of_context], hidden[of_targets.flatten()] = True, True
        assert not (seen & hidden).any()
        for mask in (seen, hidden):
            frames = mask.reshape(TIMES, SIDE, SIDE)
            assert (frames == frames[0]).all()
        assert (seen | hidden).all()
        assert hidden.reshape(TIMES, -1)[0].sum() in (8, 12)


def test_a_step_has_one_range_and_each_is_as_likely():
    masks = RangeMasks((14, 14))
    counts = [masks.draw(0, 0, step, range(3)).targets.shape[2] for step in range(200)]
    short, long = math.ceil(0.73 * 196), math.ceil(0.9 * 196)
    assert set(counts) == {short, long}
    assert counts.count(short) == pytest.approx(100, abs=30)
    # A clip has the same mask whatever else is in the batch.
    one, all_ = masks.draw(0, 0, 5, [2]).targets, masks.draw(0, 0, 5, range(3)).targets
    assert (one[0] == all_[2]).all()
    # A rectangle of the long range is 0.7 of the frame, so that what is seen is at its border.
    visible = masks.draw(0, 0, counts.index(long), range(20)).visible.reshape(-1, 14, 14)
    assert visible[:, 6:8, 6:8].mean() < 0.02


def test_what_a_tube_drops_from_a_context_is_whole_tubes_first():
    tubes = Tubes(RandomMasks((4, 4), 0.5), 3)
    masks = tubes.draw(0, 0, 0, range(5))
    kept = masks.context(masks.smallest_context)
    assert kept.shape == (5, 24)
    assert (np.sort(kept % 16, axis=1) == np.repeat(np.sort(kept[:, :8], axis=1), 3, axis=1)).all()


def test_nothing_of_a_hidden_tubelet_reaches_the_encoder():
    method = build()
    x, (kept, targets) = noise(4, 0), drawn(method)
    changed = x.clone().reshape(4, TIMES, 2, SIDE, 4, SIDE, 4)
    for clip, which in zip(changed, targets.flatten(1), strict=True):
        for index in which.tolist():
            t, r, c = np.unravel_index(index, (TIMES, SIDE, SIDE))
            clip[t, :, r, :, c] = 1e3
    changed = changed.reshape(x.shape)
    assert not torch.equal(changed, x)
    tokens = [encode(method.backbone, one, kept) for one in (x, changed)]
    assert torch.equal(*tokens)
    assert not torch.equal(*(encode(method.backbone, one) for one in (x, changed)))


def test_the_loss_is_the_mean_absolute_error_of_normalised_latents():
    method = build()
    x, (kept, targets) = noise(4, 0), drawn(method)
    terms, _, _ = method.match(x, kept, targets)
    average = method.target.get_submodule("backbone")
    whole = F.layer_norm(encode(average, x), (16,))
    wanted = whole.gather(1, targets[:, 0, :, None].expand(-1, -1, 16))
    predicted = method.predictor(encode(method.backbone, x, kept), kept, targets)[:, 0]
    torch.testing.assert_close(terms.loss, (predicted - wanted).abs().mean())


# Data.


def test_the_direction_of_a_dot_is_its_label_and_no_frame_tells_it():
    pixels, label = clips()
    assert pixels.shape == (2400, 16, 16, 8)
    assert (np.bincount(label) == 300).all()
    wave = np.exp(-2j * np.pi * np.arange(16) / 16)
    down, right = (
        np.angle((place[..., 1:] * place[..., :-1].conj()).sum(axis=1))
        for place in (np.einsum("nrct,r->nt", pixels, wave), np.einsum("nrct,c->nt", pixels, wave))
    )
    angle = np.arctan2(-down, -right) / (2 * np.pi / 8)
    assert (np.rint(angle) % 8 == label).mean() > 0.99
    first = pixels[..., 0].reshape(2400, -1).astype(float)
    means = np.stack([first[label == one].mean(axis=0) for one in range(8)])
    # Averages of a frame differ by what 300 clips leave to chance.
    assert means.std(axis=0).max() < 4.0 * first.std(axis=0).max() / math.sqrt(300)


# Runs.


@collapse_is_expected
def test_an_interrupted_run_continues_bit_for_bit_and_its_backbone_is_read_back(
    tmp_path, monkeypatch
):
    whole = run(tmp_path / "whole")
    look = StopAtNonFinite.on_train_batch_end

    def interrupted(self, trainer, *rest):
        look(self, trainer, *rest)
        if trainer.fit_loop.total_batch_idx == 8:
            raise RuntimeError("power cut")

    with monkeypatch.context() as cut:
        cut.setattr(StopAtNonFinite, "on_train_batch_end", interrupted)
        with pytest.raises(RuntimeError, match="power cut"):
            run(tmp_path / "cut")
    expected, actual = state_of(whole), state_of(run(tmp_path / "cut"))
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    model: Any = load_backbone(whole.folder.backbone)
    x = noise(3, 0)
    torch.testing.assert_close(model(x), model.forward_features(x).mean(dim=1))


@collapse_is_expected  # of the mean of all tokens, most of which are positions
def test_the_preset_learns_the_direction_of_the_dots_better_than_an_untrained_network(tmp_path):
    small = (
        *("max_epochs=4", "data.num_workers=0", f"checkpoint.dir={tmp_path}"),
        *("evaluation.protocols=[linear-features]", "evaluation.report=false"),
        *("backbone.kwargs.depth=2", "method_kwargs.pred_depth=1"),
    )
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        outcome = pretrain(compose("vjepa", overrides=list(small)))
    assert outcome is not None
    found = json.loads(outcome.folder.results.read_text())["results"]["linear-features"]
    assert found["top1"] > found["untrained_top1"] + 0.1
    assert found["top1"] > 0.4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["backbone.kwargs.tubelet=3"], "no whole number of tubelets of 3 frames of 1"),
        (["backbone.kwargs.patch_size=3"], "frames of 16 pixels are no whole number of patches"),
        (["method_kwargs.predict=pixels"], "expected latents with backbone.name=vit_video"),
        (["backbone.kwargs.embed_dim=20"], "a multiple of 8"),
        (
            ["method_kwargs.range_shares=[0.99,0.999]"],
            r"range_shares: 0\.99 hides 16 of 16 patches; .*patch_size.*\.0\.crop_size",
        ),
        (
            ["backbone.name=vit_tiny_patch16_224"],
            r"patch16_224 takes, got tubelet=2: .*, as clips need backbone\.name=vit_video",
        ),
        (["method_kwargs.range_shares=[0.5]"], r"\[smallest, largest\]"),
    ],
)
def test_what_does_not_fit_is_one_line(overrides, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(*overrides)
    assert "\n" not in str(caught.value)


def test_clips_of_another_shape_are_refused_in_one_line():
    model = create_backbone("vit_video", 16, in_chans=8, patch_size=4, embed_dim=16, num_heads=2)
    with pytest.raises(ValueError, match="clips: expected"):
        model(torch.zeros(2, 6, 16, 16))
    with pytest.raises(ValueError, match=r"got \(1, 3, 16, 16\); data\.channels says how many fr"):
        create_backbone("vit_video", 16, patch_size=4, embed_dim=16, num_heads=2, depth=1)
