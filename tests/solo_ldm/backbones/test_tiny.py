"""The networks for small budgets."""

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from solo_ldm.backbones import create_backbone


def multiply_adds(name: str, size: int = 32) -> float:
    model = create_backbone(name, size).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / 2


def test_a_tiny_network_costs_what_its_layers_do():
    for width in (32, 48, 64, 96):
        # By hand, at 32 pixels: a 3×3 convolution of c channels to d on p pixels costs 9 c d p, and
        # every stage has a quarter of the pixels and twice the channels of the one before.
        stem = 27 * width * 256
        first = 2 * 9 * width**2 * 256
        shortcuts_and_first_halves = 2 * (9 + 1) * 2 * width**2 * 64
        second_halves = 2 * 9 * 4 * width**2 * 64
        last = 4 * 16 * width**2 * 16
        expected = stem + first + shortcuts_and_first_halves + second_halves + last
        assert multiply_adds(f"resnet_tiny_{width}") == expected
    assert 10 * multiply_adds("resnet_tiny_64") < multiply_adds("resnet18")


def test_a_tiny_network_is_one_of_timms():
    assert "resnet_tiny_48" in timm.list_models()
    model = timm.create_model("resnet_tiny_48", num_classes=7, in_chans=4)
    images = torch.randn(2, 4, 24, 24)
    assert model(images).shape == (2, 7)
    model.reset_classifier(0)
    torch.testing.assert_close(model(images), model.forward_features(images).mean(dim=(2, 3)))
    maps = timm.create_model("resnet_tiny_32", features_only=True)(torch.zeros(1, 3, 32, 32))
    assert [tuple(one.shape[1:]) for one in maps] == [(32, 16, 16), (64, 8, 8), (128, 4, 4)]
    unpooled = timm.create_model("resnet_tiny_32", num_classes=0, global_pool="")
    assert unpooled(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)
    assert model.num_features == 16 * 48 == model(images).shape[1]
