"""Any model of timm: its width is measured, and what does not fit is refused in one line."""

from __future__ import annotations

import random

import numpy as np
import pytest
import timm
import torch
from timm.models import register_model
from torch import nn

from solo_ldm.backbones import create_backbone
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods.ldm.body import GaussProb
from tests.support import ROOT
from tests.support.methods.configurations import method_config
from tests.support.methods.families import REFUSED, SMALLEST, refusal
from tests.support.toy import toy_config


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lcnet_035", 32),  # its features are not as many as its feature maps
        ("test_mambaout", 64),
        ("deit_tiny_patch16_224", 48),  # told the size, though no vit_ or swin_
        ("test_coatnet", 32),
        ("xcit_nano_12_p8_224", 32),  # takes several sizes as it is
    ],
)
def test_a_method_makes_a_step_with_models_of_many_kinds(tmp_path, name, size):
    assert refusal(tmp_path, name, size) is None


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("family", SMALLEST)
def test_every_family_trains_or_is_refused_in_one_line(tmp_path, family, size):
    assert {one for one in timm.list_modules() if hasattr(timm.models, one)} == {*SMALLEST}
    found = refusal(tmp_path, SMALLEST[family], size)
    assert (found is not None) == ((family, size) in REFUSED)
    if found is not None:
        assert found.startswith(f"backbone.name={SMALLEST[family]}: expected")
        assert "\n" not in found
        assert f"`{SMALLEST[family]}`" in (ROOT / "docs" / "backbones.md").read_text()


class Drawing(nn.Module):
    """Draws in each pass, and needs the value of what it drew, which the meta device has not."""

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.num_features = 5  # which is wrong

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = torch.rand(()).item() + random.random() + np.random.rand()
        return scale * self.norm(self.conv(images)).mean(dim=(2, 3))


@register_model
def drawing_model(pretrained: bool = False, **kwargs: object) -> Drawing:
    return Drawing(**kwargs)


def test_trying_a_model_draws_no_random_number_and_leaves_no_trace_in_it():
    for name in ("resnet10t", "deit_tiny_patch16_224", "drawing_model"):
        states = []
        for build in (
            lambda name: timm.create_model(name, num_classes=0),
            lambda name: create_backbone(name, 224),
        ):
            torch.manual_seed(3)
            random.seed(3)
            np.random.seed(3)
            states.append(build(name).state_dict())
            states[-1]["drawn"] = torch.tensor([random.random(), np.random.rand(), torch.rand(())])
        one, other = states
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert create_backbone("drawing_model", 16).num_features == 8


def test_small_crops_reach_models_that_take_several_sizes(tmp_path):
    """Those that do not are refused; at the first size nothing changes."""
    cfg = method_config(tmp_path)
    cfg.backbone = {"name": "deit_tiny_patch16_224", "kwargs": {}}
    cfg.data.update(image_size=32, crop_sizes=[16, 32], num_small_crops=1)
    method = GaussProb(cfg)
    method.log_dict = lambda *args, **kwargs: None
    crops = [torch.rand(4, 3, size, size) for size in (32, 32, 16)]
    method.training_step([torch.arange(4), crops, torch.arange(4)], 0)["loss"].backward()
    alone = create_backbone("deit_tiny_patch16_224", 32).eval()
    alone.load_state_dict(method.backbone.state_dict())
    torch.testing.assert_close(method.eval().backbone(crops[0]), alone(crops[0]))
    cfg.backbone.name = "gmlp_ti16_224"
    with pytest.raises(
        ValueError, match=r"augmentations: expected crops .* got crop_size 32 and 16"
    ):
        GaussProb(cfg)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("convnet_small", {"widht": 8}, "backbone.kwargs: .* unexpected keyword argument 'widht'"),
        ("convnet_small", {"width": 0}, "backbone.kwargs: .* width: expected a whole number from"),
        ("convnet_small", {"width": 10**6}, "backbone.kwargs: .* more than this machine's memory"),
        ("convnet_small", {"in_chans": -1}, "backbone.kwargs: .* in_chans: expected"),
        ("resnet18", {"depth": 3}, "backbone.kwargs: .* unexpected keyword argument 'depth'"),
        ("resnet18", {"in_chans": -1}, "backbone.kwargs: .* negative dimension"),
        ("vit_tiny", {"patch_size": 0}, "backbone.kwargs: .* zero"),
        ("vit_tiny", {"patch_size": 64}, "backbone.name=vit_tiny: .* images of 32 pixels"),
        ("inception_v3", {}, "backbone.name=inception_v3: .* images of 32 pixels"),
        ("convnet_small", {"image_size": 0}, "image_size: expected a whole number from 1, got 0"),
    ],
)
def test_what_a_model_does_not_take_is_one_line(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as caught:
        create_backbone(**{"name": name, "image_size": 32, **kwargs})
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_fit_is_refused_before_a_file_is_written(tmp_path):
    for overrides, message in (
        (["backbone.name=inception_v3"], "backbone.name=inception_v3: expected a model"),
        (["+backbone.kwargs.widht=8"], "backbone.kwargs: expected"),
        (["++backbone.kwargs.image_size=0"], "backbone.kwargs.image_size: expected"),
    ):
        cfg = toy_config(tmp_path / "runs", *overrides)
        if "inception" in message:
            cfg.backbone.kwargs = {}
        with pytest.raises(ValueError, match=message):
            pretrain(cfg)
    assert not (tmp_path / "runs").exists()
