"""Runs of JEPA on masked blocks: kept, resumed, of two processes, refused."""

from __future__ import annotations

import json
from functools import cache

import pytest
import timm
import torch
from hydra import compose, initialize_config_module
from safetensors.torch import load_file

from solo_ldm.backbones import create_backbone, load_backbone
from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.registry import DATASETS
from solo_ldm.data.module import ImageDataModule
from solo_ldm.methods.masked.method import Masked
from solo_ldm.methods.masked.settings import resolve
from solo_ldm.methods.masked.tokens import check_backbone
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.run.configuration import complete
from tests.support.methods.masked import (
    TINY,
    build,
    collapse_is_expected,
    images_and_masks,
    run,
    state_of,
)

# Runs.


@collapse_is_expected
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_the_average_follows_as_tau_says(tmp_path, tau):
    taus = (f"method_kwargs.base_tau={tau}", f"method_kwargs.final_tau={tau}")
    state = state_of(run(tmp_path, *taus, "max_epochs=1", "scheduler.warmup_epochs=0"))
    keys = [key for key in state if key.startswith("backbone.")]
    assert keys
    equal = [torch.equal(state[key], state[f"target.{key}"]) for key in keys]
    # Fixed positions are equal whatever happens.
    assert all(equal) if tau == 0.0 else sum(equal) == 1


@collapse_is_expected
@pytest.mark.parametrize("name", TINY)
def test_an_interrupted_run_continues_bit_for_bit(tmp_path, monkeypatch, name):
    overrides = ["accumulate_grad_batches=2", "evaluation.protocols=[]"]
    if name == "ijepa":
        overrides.append("method_kwargs.entropy=sliced")
    whole = run(tmp_path / "whole", *overrides, name=name)
    look = StopAtNonFinite.on_train_batch_end

    def interrupted(self, trainer, *rest):
        look(self, trainer, *rest)
        if trainer.fit_loop.total_batch_idx == 7:  # in the second epoch of five batches
            raise RuntimeError("power cut")

    with monkeypatch.context() as cut:
        cut.setattr(StopAtNonFinite, "on_train_batch_end", interrupted)
        with pytest.raises(RuntimeError, match="power cut"):
            run(tmp_path / "cut", *overrides, name=name)
    resumed = run(tmp_path / "cut", *overrides, name=name)
    expected, actual = state_of(whole), state_of(resumed)
    assert expected.keys() == actual.keys()
    assert any(key.startswith("target.") for key in expected) == (name in ("ijepa", "data2vec"))
    if name == "beit":
        assert len(expected["targets.centres"].unique(dim=0)) == 8
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


@collapse_is_expected
def test_the_saved_backbone_is_timms(tmp_path):
    outcome = run(tmp_path, "max_epochs=1", "scheduler.warmup_epochs=0")
    kwargs = {"patch_size": 2, "embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 16}
    kwargs |= {"class_token": False, "global_pool": "avg", "fc_norm": False, "num_classes": 0}
    plain = timm.create_model("vit_tiny_patch16_224", **kwargs).eval()
    plain.load_state_dict(load_file(outcome.folder.backbone))
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(load_backbone(outcome.folder.backbone)(images), plain(images))
    results = json.loads(outcome.folder.results.read_text())
    assert {"z_std", "z_alignment"} <= results["health"].keys()
    assert results["predictor"] == "transformer"


@cache
def usual_size(*overrides: str) -> int:
    """The side of the views of other presets."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return complete(compose("gaussprob", list(overrides))).augmentations[0].crop_size


@pytest.mark.parametrize("data", {one.views.name: name for name, one in DATASETS.items()}.values())
@pytest.mark.parametrize("name", TINY)
def test_the_preset_fits_the_views_of_every_data_set(name, data):
    overrides = [f"data={data}", "data.train_path=somewhere", "++backbone.kwargs.depth=2"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = complete(compose(name, overrides=overrides))
    module = ImageDataModule(DataConfig(**cfg.data), cfg.augmentations, 4)
    assert module.image_size == usual_size(*overrides[:2])
    for key in ("num_large_crops", "num_small_crops", "image_size"):
        cfg.data[key] = getattr(module, key)
    cfg.data.num_classes = 0
    if (name, data) == ("ijepa", "moving_dots"):
        # Four blocks of 16 patches can leave no context; vjepa is for clips.
        with pytest.raises(ValueError, match="4 targets can leave 0 of 16 patches"):
            Masked(cfg)
        return
    method = Masked(cfg)
    size = module.image_size
    kept, targets = method.draw_masks(torch.arange(2), 0)
    assert method.match(torch.randn(2, 3, size, size), kept, targets)[0].loss.isfinite()


# What does not fit is one line.


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method_kwargs.latent=whitened"], "expected plane, sphere, huber or conditional"),
        (["method_kwargs.predict=words"], "expected latents, pixels, gradients or tokens"),
        (["method_kwargs.predict=tokens"], "latent: expected categorical_conditional, got 'plane'"),
        (["method_kwargs.hidden=zeros"], "expected dropped or mask_token"),
        (["method_kwargs.masks=lines"], "expected blocks, random, blockwise or ranges"),
        (["method_kwargs.pred_depth=0"], "needs tokens where patches are hidden"),
        (["method_kwargs.target_blocks=3"], "at most 2, the blocks of the backbone"),
        (["method_kwargs.mask_share=1"], "mask_share: expected a number above 0 and below 1"),
        (["method_kwargs.masks=random", "method_kwargs.mask_share=0.999"], "hides 64 of 64"),
        (["method_kwargs.masks=random", "method_kwargs.mask_unit=3"], "does not divide the 8 × 8"),
        (
            [
                *("method_kwargs.predict=gradients", "backbone.kwargs.patch_size=4"),
                *("method_kwargs.cell_size=3", "method_kwargs.masks=random"),
            ],
            "cell_size=3 does not divide patches of 4 pixels",
        ),
        (["method_kwargs.over=joint"], "which has one view"),
        (["method_kwargs.target=same"], "nothing against collapse"),
        (["method_kwargs.predictor=mlp"], "its predictor is a transformer"),
        (["method_kwargs.proj_output_dim=32"], "has no projector"),
        (["+method_kwargs.num_target=3"], "did you mean num_targets"),
        (["+method_kwargs.mask_ratio=0.5"], "did you mean mask_share"),
        (["method_kwargs.num_targets=0"], "a whole number from 1"),
        (["method_kwargs.target_scale=[0.3,0.2]"], r"\[smallest, largest\]"),
        (["method_kwargs.target_scale=0.2"], "a list of numbers"),
        (["method_kwargs.context_scale=[0.5,1.5]"], "a list of numbers"),
        (["method_kwargs.target_scale=[0.01,0.012]"], "no block of 8 × 8 patches"),
        (["method_kwargs.num_targets=6"], "lower it, num_targets or target_scale"),
        (["method_kwargs.positions=rotary"], "expected sincos or learned"),
        (["method_kwargs.normalise_patches=3"], "true or false"),
        (["method_kwargs.pred_num_heads=3"], "no multiple of"),
        (["method_kwargs.pred_embed_dim=6"], "a multiple of 4"),
        (
            ["method_kwargs.entropy=sliced", "optimizer.batch_size=1"],
            "expected at least 2 for entropy=sliced",
        ),
        (["backbone.name=resnet18"], "resnet18: .* plain vision transformers"),
        (["backbone.name=swin_tiny"], "swin_tiny: .* plain vision transformers"),
        (["backbone.name=vit_none"], "no timm model"),
        (["backbone.kwargs.patch_size=3"], "no whole number of patches"),
        (
            ["+backbone.kwargs.img_size=32"],
            "images of 16 pixels into vectors, got Input height .16. doesn't match model .32.",
        ),
        (["backbone.kwargs.class_token=true", "backbone.kwargs.global_pool=token"], "the mean of"),
        (["backbone.kwargs.fc_norm=true"], r"fc_norm=false"),
        (["+backbone.kwargs.patch_drop_rate=0.5"], "leaves out patches itself"),
        (["+backbone.kwargs.pos_embed=none"], "has no position embedding"),
        (["+momentum.base_tau=0.9"], "method_kwargs.base_tau"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line(overrides, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18", "convnet_small", "swin_tiny_patch4_window7_224"])
def test_other_networks_than_vision_transformers_are_refused_in_one_line(name):
    model = create_backbone(name, 224)
    with pytest.raises(ValueError, match=f"backbone.name={name}: .* plain vision") as caught:
        check_backbone(model, name, 224)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("crops", [(2, 0), (1, 4)])
def test_more_than_one_view_is_refused_in_one_line(crops):
    with pytest.raises(ValueError, match="expected one view"):
        build(num_large_crops=crops[0], num_small_crops=crops[1])


def test_settings_complete_themselves():
    settings = resolve({"proj_hidden_dim": None, "predictor": None})
    assert settings.cell.latent == "plane"
    assert settings.cell.target == "moving_average"
    assert settings.as_dict()["num_targets"] == 4
    assert "proj_output_dim" not in settings.as_dict()


def test_features_of_the_classifier_are_those_of_the_evaluation():
    method = build()
    images, kept, targets = images_and_masks(method)
    whole = method.match(images, kept, targets)[1]
    assert len(whole) == -(-len(images) // 4)
    feats = method(images)["feats"]
    torch.testing.assert_close(method.backbone.forward_head(whole), feats[: len(whole)])
    plain = create_backbone("vit_tiny", 16, **method.cfg.backbone.kwargs).eval()
    plain.load_state_dict(method.backbone.state_dict())
    torch.testing.assert_close(plain(images), method(images)["feats"])
