"""The encoder: its scale, the mean over past bins that it reads, its dropout of features."""

from __future__ import annotations

import pytest
import torch

from predictive.encoder import Encoder
from tests.support.predictive.filtering_models import close


def fitted(encoder, inputs):
    """An encoder scaled to sequences (N, T, F), all of whose bins exist."""
    encoder.fit_scale(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool))
    return encoder


@pytest.mark.parametrize("transform", ["none", "sqrt"])
def test_the_encoder_centres_each_feature_and_scales_all_by_one_deviation(transform):
    encoder = Encoder(3, 3, num_hidden_layers=0, transform=transform)
    x = 5.0 * torch.rand(1, 200, 3) * torch.tensor([1.0, 2.0, 4.0]) + 1.0
    with torch.no_grad():
        encoder.network[0].weight.copy_(torch.eye(3))
        encoder.network[0].bias.zero_()
    fitted(encoder, x)
    g = x[0].sqrt() if transform == "sqrt" else x[0]
    z = encoder(x)[0].detach()
    close(z.mean(dim=0), torch.zeros(3), atol=1e-4)
    close(z.square().mean(), torch.tensor(1.0), atol=1e-4)
    close(z.std(dim=0) / z.std(dim=0)[0], g.std(dim=0) / g.std(dim=0)[0], atol=1e-4)
    assert {"mean", "scale"} <= set(encoder.state_dict())


def test_the_encoder_reads_each_bin_by_itself_and_constant_bins_without_dividing_by_zero():
    encoder = fitted(Encoder(3, 2), torch.full((1, 50, 3), 2.0))
    x = torch.randn(4, 6, 3)
    close(encoder(x)[2, 3], encoder(x[2:3, 3:4])[0, 0], atol=1e-6)
    assert encoder(x).isfinite().all()


def test_with_a_history_the_encoder_reads_each_bin_and_a_weighted_mean_of_those_so_far():
    torch.manual_seed(0)
    encoder = Encoder(3, 2, history=2.5)
    x, seen = torch.randn(4, 30, 3), torch.rand(4, 30) > 0.3
    seen[:, 0] = False
    means = torch.zeros_like(x)
    for t in range(30):
        weight = seen[:, : t + 1] * torch.exp((torch.arange(t + 1) - t) / 2.5)
        known = weight.sum(dim=1) > 0
        mean = torch.einsum("bs,bsf->bf", weight, x[:, : t + 1]) / weight.sum(dim=1)[:, None]
        means[:, t] = torch.where(known[:, None], mean, 0.0)
    close(encoder(x, seen), encoder.encode(x, means), atol=1e-5)
    lost = torch.where(seen[..., None], x, torch.nan)
    encoder.fit_scale(lost, torch.ones(4, 30, dtype=torch.bool))
    both = torch.cat([x, means], dim=2)[seen]
    close(encoder.mean, both.mean(dim=0), atol=1e-5)
    close(encoder.scale, (both - both.mean(dim=0)).square().mean().sqrt(), atol=1e-5)


def test_what_feature_dropout_leaves_of_one_bin_says_nothing_of_the_next():
    torch.manual_seed(0)
    encoder = Encoder(40, 40, num_hidden_layers=0, feature_dropout=0.5).train()
    with torch.no_grad():
        encoder.network[0].weight.copy_(torch.eye(40))
        encoder.network[0].bias.zero_()
    kept = (encoder(torch.ones(50, 20, 40)) > 0).double()
    assert kept.mean().item() == pytest.approx(0.5, abs=0.02)
    before, after = kept[:, :-1].flatten(), kept[:, 1:].flatten()
    assert abs(float(torch.corrcoef(torch.stack([before, after]))[0, 1])) < 0.02


def test_the_scale_of_the_encoder_is_that_of_the_bins_that_were_observed():
    x = torch.randn(1, 50, 3)
    encoder, expected = Encoder(3, 2), fitted(Encoder(3, 2), x[:, 5:45])
    x[:, :5] = torch.nan
    encoder.fit_scale(x, torch.arange(50)[None] < 45)
    close(encoder.mean, expected.mean, atol=1e-6)
    close(encoder.scale, expected.scale, atol=1e-6)
