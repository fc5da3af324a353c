"""CLIP and SigLIP are cells: values and gradients against their papers' equations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm import pairs
from solo_ldm.entropy import KernelEntropy, LogisticEntropy, NeighbourEntropy
from solo_ldm.latents import VonMisesFisherSphere
from solo_ldm.methods.cross.settings import CrossSettings, resolve
from solo_ldm.objective import LDMObjective
from tests.support.toy import plain, toy_config

CLOSE = {"atol": 1e-9, "rtol": 0.0}


def settings_of(name: str, tmp_path: Any) -> CrossSettings:
    return resolve(plain(toy_config(tmp_path, name=name))["method_kwargs"])


def outputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    image, text = torch.randn(2, 24, 10, generator=generator, dtype=torch.float64)
    return image.requires_grad_(), text.requires_grad_()


def value_and_gradients(objective: LDMObjective) -> tuple[Tensor, ...]:
    image, text = outputs()
    project = objective.latent.project
    value = objective(project(image), project(text)).loss
    return value.detach(), *torch.autograd.grad(value, [image, text, *objective.parameters()])


def clip(image: Tensor, text: Tensor, log_precision: Tensor) -> Tensor:
    """Figure 3 of the paper."""
    logits = log_precision.exp() * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    labels = torch.arange(len(image))
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))


def siglip(image: Tensor, text: Tensor, log_precision: Tensor, bias: Tensor) -> Tensor:
    """Algorithm 1 of the paper."""
    logits = log_precision.exp() * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T + bias
    labels = 2.0 * torch.eye(len(image), dtype=logits.dtype) - 1.0
    return -F.logsigmoid(labels * logits).sum() / len(image)


def test_clip_is_the_cross_entropy_of_both_directions_with_its_temperature(tmp_path):
    objective = settings_of("clip", tmp_path).cell.build_objective().double()
    moved = torch.tensor(math.log(1 / 0.07) + 0.7, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():  # as training does
        objective.latent.log_precision.copy_(moved)
    value = clip(*(leaves := (*outputs(), moved)))
    expected = value.detach(), *torch.autograd.grad(value, leaves)
    torch.testing.assert_close(value_and_gradients(objective), expected, **CLOSE)


def test_siglip_is_the_likelihood_of_which_pairs_match_with_its_temperature_and_bias(tmp_path):
    objective = settings_of("siglip", tmp_path).cell.build_objective().double()
    starts = (math.log(10.0) + 0.3, -9.0)
    moved = [torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in starts]
    with torch.no_grad():
        objective.latent.log_precision.copy_(moved[0])
        objective.entropy.log_normaliser.copy_(moved[1])
    value = siglip(*(leaves := (*outputs(), *moved)))
    expected = value.detach(), *torch.autograd.grad(value, leaves)
    torch.testing.assert_close(value_and_gradients(objective), expected, **CLOSE)


def test_without_the_pair_itself_clip_is_decoupled():
    """Denominators over the other pairs alone, as of decoupled contrastive learning."""
    objective = LDMObjective(
        VonMisesFisherSphere(5.0), KernelEntropy("sphere", 5.0, leave_one_out=True), "cross", 0.5
    )
    image, text = (F.normalize(one, dim=1) for one in outputs())
    logits = 5.0 * image @ text.T
    others = logits.masked_fill(torch.eye(24, dtype=torch.bool), -math.inf)
    spread = 0.5 * sum(torch.logsumexp(others, dim=dim).mean() for dim in (0, 1))
    torch.testing.assert_close(
        objective(image, text).loss, spread - logits.diagonal().mean(), **CLOSE
    )


def test_on_the_plane_the_other_view_is_under_gaussian_kernels():
    image, text = outputs()
    entropy = KernelEntropy("plane", 3.0)
    distances = (image[:, None] - text[None]).square().mean(dim=2)
    expected = -sum(torch.logsumexp(-3.0 * one, dim=1).mean() for one in (distances, distances.T))
    found = entropy.cross(image, text)
    torch.testing.assert_close(found, expected, **CLOSE)
    leaves = (image, text)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), **CLOSE
    )


def test_the_cross_entropy_of_a_view_and_itself_is_its_entropy():
    image, _ = (F.normalize(one, dim=1) for one in outputs())
    for entropy in (KernelEntropy("sphere"), LogisticEntropy("sphere"), LogisticEntropy("plane")):
        torch.testing.assert_close(
            entropy.cross(image, image), 2.0 * entropy.marginal(image), **CLOSE
        )


def test_in_large_batches_the_logistic_entropy_is_the_kernels_quadratic_one_less_one():
    """At the best b: −log (1/B) Σ_ij K_ij − 1, to 1/B."""
    z = F.normalize(torch.randn(1500, 8, generator=torch.Generator().manual_seed(0)).double())
    best = -torch.logsumexp((3.0 * z @ z.T).flatten(), dim=0) + math.log(len(z))
    entropy = LogisticEntropy("sphere", 3.0, bias=best.item()).double()
    value = entropy.marginal(z)
    (slope,) = torch.autograd.grad(value, entropy.log_normaliser)
    assert abs(value.item() - (best.item() - 1.0)) < 2 / len(z)
    assert abs(slope.item()) < 4 / len(z)


@pytest.mark.parametrize("kind", [KernelEntropy, LogisticEntropy])
def test_blocks_and_what_is_made_again_change_nothing(kind, monkeypatch):
    entropy = kind("sphere").double()
    views = [F.normalize(one, dim=1) for one in outputs()]
    whole = entropy.cross(*views)
    expected = torch.autograd.grad(whole, views)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 24 * 8 * 5)
    monkeypatch.setattr(pairs, "_KEPT_BYTES", 0)
    blocks = entropy.cross(*views)
    torch.testing.assert_close(blocks, whole, **CLOSE)
    torch.testing.assert_close(torch.autograd.grad(blocks, views), expected, **CLOSE)


def test_a_learned_precision_sharpens_the_model_and_its_kernel_alike():
    image, text = (F.normalize(one, dim=1) for one in outputs())
    for over in ("joint", "marginal", "pooled", "cross"):
        learned = LDMObjective(
            VonMisesFisherSphere(4.0, learn_precision=True), KernelEntropy("sphere", 2.0), over
        )
        with torch.no_grad():
            learned.latent.log_precision.fill_(math.log(6.0)).double()
        fixed = LDMObjective(VonMisesFisherSphere(6.0), KernelEntropy("sphere", 3.0), over)
        found, expected = learned(image, text), fixed(image, text)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0.0)


def test_a_precision_is_clamped_before_a_step():
    latent = VonMisesFisherSphere(50.0, learn_precision=True, largest_precision=100.0)
    with torch.no_grad():
        latent.log_precision.fill_(6.0)
    latent.at(0.5)
    assert latent.schedule(3)["precision"].item() == pytest.approx(100.0)
    assert VonMisesFisherSphere(50.0).schedule(3) == {}


def test_what_does_not_go_together_is_one_line():
    sphere = VonMisesFisherSphere(5.0, learn_precision=True)
    with pytest.raises(ValueError, match="over=cross: NeighbourEntropy has no value"):
        LDMObjective(VonMisesFisherSphere(), NeighbourEntropy("sphere"), "cross")
    with pytest.raises(ValueError, match="learn_precision: expected the entropy of a kernel"):
        LDMObjective(sphere, NeighbourEntropy("sphere"), "marginal")
    with pytest.raises(ValueError, match="at most largest_precision=100, got 200"):
        VonMisesFisherSphere(200.0, learn_precision=True)
    with pytest.raises(ValueError, match="its log-normaliser is learned"):
        LogisticEntropy().to_nats(torch.zeros(()), 3, 2)
