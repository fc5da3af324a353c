"""Backbones by name."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from solo_ldm.backbones import SOLO_LEARN_NAMES, create_backbone, load_backbone
from solo_ldm.weights.export import write_backbone


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


def test_names_of_solo_learn_are_all_here_but_two():
    poolformers = [f"poolformer_{size}" for size in ("s12", "s24", "s36", "m36", "m48")]
    families = [f"{kind}_{size}" for kind in ("vit", "swin") for size in ("tiny", "small", "base")]
    convnexts = [f"convnext_{size}" for size in ("tiny", "small", "base", "large")]
    others = ["resnet18", "resnet50", "vit_large", "swin_large"]
    for name in (*poolformers, *families, *convnexts, *others):
        assert timm.is_model(SOLO_LEARN_NAMES.get(name, name)), name
    with pytest.raises(ValueError, match=r"backbone\.name=wide_resnet28w2 is no timm model"):
        create_backbone("wide_resnet28w2", 32)


def test_a_name_with_the_place_of_its_weights_is_answered_with_the_name():
    for name in ("timm:resnet18", "timm/resnet18", "hf-hub:timm/resnet18", "hf_hub:timm/resnet18"):
        with pytest.raises(ValueError, match=r"did you mean resnet18\?.*kwargs\.pretrained=true"):
            create_backbone(name, 32)


def test_pretrained_weights_are_read_from_a_file_and_a_run_keeps_its_own(tmp_path, monkeypatch):
    theirs = timm.create_model("resnet10t").state_dict()
    save_file(theirs, tmp_path / "theirs.safetensors")
    asked = {
        "pretrained": True,
        "pretrained_cfg_overlay": {"file": str(tmp_path / "theirs.safetensors")},
    }
    built_by = {"name": "resnet10t", "image_size": 96, **asked}
    model = create_backbone(**built_by)
    assert torch.equal(model.state_dict()["layer1.0.conv1.weight"], theirs["layer1.0.conv1.weight"])
    write_backbone(tmp_path / "backbone.safetensors", model, built_by)
    (tmp_path / "theirs.safetensors").unlink()
    kept = load_backbone(tmp_path / "backbone.safetensors").state_dict()
    assert torch.equal(kept["conv1.0.weight"], theirs["conv1.0.weight"])
    with pytest.raises(OSError, match=r"^backbone\.kwargs\.pretrained: .*overlay\.file=PATH$"):
        create_backbone(**built_by)


def test_a_number_of_classes_is_refused_by_its_key():
    with pytest.raises(ValueError, match=r"^backbone\.kwargs\.num_classes: .*leave it out"):
        create_backbone("resnet18", 32, num_classes=10)


def test_wrong_names_and_files_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="did you mean resnet18"):
        create_backbone("resnet-18", image_size=32)
    with pytest.raises(FileNotFoundError, match=r"backbone\.safetensors"):
        load_backbone(tmp_path / "none.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no run of ours"):
        load_backbone(tmp_path / "other.safetensors")
