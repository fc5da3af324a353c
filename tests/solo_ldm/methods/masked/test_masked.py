"""JEPA on masked blocks: what is predicted from what, and what learns from it."""

from __future__ import annotations

import pytest
import torch

from solo_ldm.entropy import ENTROPIES
from solo_ldm.methods.masked.tokens import encode
from tests.support.methods.masked import build, images_and_masks

# The predictor.


def test_a_prediction_depends_on_its_place_and_not_on_the_other_blocks():
    method = build()
    images, kept, targets = images_and_masks(method)
    seen = encode(method.backbone, images, kept)
    predicted = method.predictor(seen, kept, targets)
    assert (predicted[0, 0, 0] - predicted[0, 0, 1]).abs().max() > 1e-3
    # Another order of the places gives the same predictions in that order.
    torch.testing.assert_close(
        method.predictor(seen, kept, targets.flip(1, 2)), predicted.flip(1, 2)
    )
    torch.testing.assert_close(method.predictor(seen, kept, targets[:, 2:3]), predicted[:, 2:3])


def test_a_prediction_depends_on_what_is_seen_and_where():
    method = build()
    images, kept, targets = images_and_masks(method)
    seen = encode(method.backbone, images, kept)
    predicted = method.predictor(seen, kept, targets)
    assert (method.predictor(seen + 1.0, kept, targets) - predicted).abs().max() > 1e-3
    assert (method.predictor(seen.flip(1), kept, targets) - predicted).abs().max() > 1e-3


# The objective.


def test_the_loss_is_the_squared_error_of_normalised_patches_of_the_average():
    method = build()
    with torch.no_grad():
        for value in method.target.parameters():
            value.add_(0.1 * torch.randn_like(value))
    images, kept, targets = images_and_masks(method)
    errors = []
    for image in range(len(images)):
        whole = method.target.backbone.forward_features(images[image][None])[0]
        seen = encode(method.backbone, images[image][None], kept[image][None])
        for block in targets[image]:
            predicted = method.predictor(seen, kept[image][None], block[None, None])[0, 0]
            for place, one in zip(block, predicted, strict=True):
                aim = whole[place]
                aim = (aim - aim.mean()) / (aim.var(unbiased=False) + 1e-5).sqrt()
                errors.append((one - aim).square().mean())
    expected = torch.stack(errors).mean()
    terms, _, _ = method.match(images, kept, targets)
    torch.testing.assert_close(terms.loss, expected)
    torch.testing.assert_close(terms.log_prob, -expected)
    assert terms.entropy == 0.0


def test_on_the_sphere_it_is_minus_the_cosine():
    method = build("method_kwargs.latent=sphere")
    images, kept, targets = images_and_masks(method)
    whole = method.target.backbone.forward_features(images)
    aims = whole.gather(1, targets.flatten(1)[..., None].expand(-1, -1, 16))
    aims = torch.nn.functional.layer_norm(aims, (16,)).view(*targets.shape, 16)
    predicted = method.predictor(encode(method.backbone, images, kept), kept, targets)
    cosine = torch.cosine_similarity(predicted, aims, dim=-1).mean()
    torch.testing.assert_close(method.match(images, kept, targets)[0].loss, -cosine)


def test_the_entropy_is_of_the_mean_latents_of_whole_images():
    method = build("method_kwargs.entropy=logdet", "method_kwargs.entropy_weight=0.5")
    images, kept, targets = images_and_masks(method)
    patches = torch.nn.functional.layer_norm(method.backbone.forward_features(images), (16,))
    expected = ENTROPIES["logdet"]("plane").marginal(patches.mean(dim=1))
    terms, _, z = method.match(images, kept, targets)
    torch.testing.assert_close(terms.entropy, expected)
    torch.testing.assert_close(terms.loss, -terms.log_prob - 0.5 * expected)
    torch.testing.assert_close(z[0], patches.mean(dim=1))


def test_a_network_that_encodes_places_alone_has_the_entropy_of_a_point():
    """The entropy of single patches would not tell: they differ as much as their places do."""
    method = build("method_kwargs.entropy=logdet")
    torch.nn.init.zeros_(method.backbone.patch_embed.proj.weight)
    images, kept, targets = images_and_masks(method, count=32)
    terms, whole, z = method.match(images, kept, targets)
    assert z[0].std(dim=0).max() < 1e-6
    point = ENTROPIES["logdet"]("plane").marginal(torch.zeros(32, 16))
    torch.testing.assert_close(terms.entropy, point, atol=1e-3, rtol=0)
    assert whole.flatten(0, 1).std(dim=0).mean() > 0.2


@pytest.mark.parametrize("target", ["detached", "moving_average"])
def test_no_gradient_reaches_the_target(target):
    method = build(f"method_kwargs.target={target}")
    images, kept, targets = images_and_masks(method)
    images.requires_grad_()
    method.match(images, kept, targets)[0].loss.backward()
    assert images.grad is not None
    # The pixels of the targets are seen by the target network alone.
    touched = images.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum(dim=(1, 4, 5)).flatten(1)
    assert touched.gather(1, kept).min() > 0
    assert touched.gather(1, targets.flatten(1)).max() == 0
    if method.target is not None:
        assert all(value.grad is None for value in method.target.parameters())


def test_the_same_network_as_target_learns_from_both_sides():
    method = build("method_kwargs.target=same", "method_kwargs.entropy=sliced")
    images, kept, targets = images_and_masks(method)
    images.requires_grad_()
    method.match(images, kept, targets)[0].loss.backward()
    assert images.grad is not None
    assert images.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum(dim=(1, 4, 5)).min() > 0


PLANE = [name for name, kind in ENTROPIES.items() if "plane" in kind.supports and name != "none"]


@pytest.mark.parametrize("target", ["same", "detached", "moving_average"])
@pytest.mark.parametrize("entropy", PLANE)
def test_every_estimator_of_the_plane_learns_with_every_target(entropy, target):
    method = build(f"method_kwargs.entropy={entropy}", f"method_kwargs.target={target}")
    images, kept, targets = images_and_masks(method, count=16)
    terms = method.match(images, kept, targets)[0]
    terms.loss.backward()
    assert terms.loss.isfinite()
    gradients = [p.grad for p in method.parameters() if p.requires_grad and p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    learned = {name for name, p in method.named_parameters() if p.requires_grad}
    reached = {name for name, p in method.named_parameters() if p.grad is not None}
    assert learned - reached == {"classifier.weight", "classifier.bias"}


def test_a_patch_may_have_a_predicted_covariance():
    method = build("method_kwargs.latent=conditional", "~method_kwargs.prediction_precision")
    images, kept, targets = images_and_masks(method)
    terms = method.match(images, kept, targets)[0]
    terms.loss.backward()
    assert method.predictor(torch.randn(1, 9, 16), kept[:1, :9], targets[:1]).shape[-1] == 32
    assert terms.loss.isfinite()
