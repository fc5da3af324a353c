"""Training on labels: the upper bound of comparisons."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from solo_ldm.methods import find_method


def supervised(method_kwargs=None, **data):
    """Build the packaged method, small, with what the data add."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose("supervised", ["+backbone.kwargs.width=8"])
    OmegaConf.set_struct(cfg, False)
    cfg.data.update(num_classes=10, image_size=16, num_large_crops=2, num_small_crops=0)
    cfg.data.update(data)
    cfg.method_kwargs = method_kwargs or {}
    kind = find_method(cfg.method)
    assert set(kind.describe(cfg).axes.values()) == {None}
    method = kind(cfg)
    method.log_dict = lambda *_, **__: None
    return method


def test_the_loss_is_the_mean_cross_entropy_over_views_and_reaches_the_backbone():
    torch.manual_seed(0)
    method = supervised(num_small_crops=1)
    large, small = torch.randn(2, 6, 3, 16, 16), torch.randn(6, 3, 16, 16)
    labels = torch.tensor([0, 1, 2, 3, -1, 0])  # one without a label
    out = method.training_step([torch.arange(6), [*large, small], labels], 0)
    known = labels >= 0
    expected = sum(
        F.cross_entropy(method.classifier(feats)[known], labels[known]) for feats in out["feats"]
    )
    torch.testing.assert_close(out["loss"], expected / 3)
    torch.testing.assert_close(out["terms"]["train_cross_entropy"], out["loss"].detach())
    out["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in method.backbone.parameters())


def test_what_labels_have_no_use_for_is_refused_in_a_line():
    with pytest.raises(ValueError, match="data: expected labelled images") as error:
        supervised(num_classes=0)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"data\.pair_match: expected null"):
        supervised(pair_match=0.5)
    with pytest.raises(ValueError, match=r"unknown key method_kwargs\.temperature"):
        supervised({"temperature": 0.1})
