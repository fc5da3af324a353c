"""Backbones by name."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from solo_ldm.backbones import create_backbone, load_backbone


@pytest.mark.parametrize("name", ["convnet_small", "resnet18", "resnet10t", "convnext_atto"])
def test_backbones_map_images_to_features(name):
    backbone = create_backbone(name, image_size=32).eval()
    features = backbone(torch.randn(2, 3, 32, 32))
    assert features.shape == (2, backbone.num_features)


def test_solo_learns_names_are_understood_and_take_the_image_size():
    backbone = create_backbone("vit_tiny", image_size=32).eval()
    assert backbone(torch.randn(1, 3, 32, 32)).shape == (1, 192)


@pytest.mark.parametrize(("size", "expected"), [(32, 32), (64, 64), (96, 24)])
def test_resnets_keep_the_resolution_of_small_images(size, expected):
    backbone = create_backbone("resnet18", image_size=size).eval()
    maps = backbone.maxpool(
        backbone.act1(backbone.bn1(backbone.conv1(torch.randn(1, 3, size, size))))
    )
    assert maps.shape[-1] == expected


def test_keys_are_timms():
    ours = create_backbone("resnet18", image_size=32).state_dict()
    assert ours.keys() == timm.create_model("resnet18", num_classes=0).state_dict().keys()


def test_the_small_network_is_a_timm_model():
    model = timm.create_model("convnet_small", num_classes=7)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 7)


def test_wrong_names_and_files_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="did you mean resnet18"):
        create_backbone("resnet-18", image_size=32)
    with pytest.raises(FileNotFoundError, match=r"backbone\.safetensors"):
        load_backbone(tmp_path / "none.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no run of ours"):
        load_backbone(tmp_path / "other.safetensors")
