"""Whitened latents: what whitening makes of a batch, and that it needs no entropy."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from solo_ldm.latents import GaussianPlane, LatentModel, WhitenedPlane
from solo_ldm.methods.ldm.method_kwargs import resolve

SIZES = {"proj_hidden_dim": 8, "proj_output_dim": 4}


def pair(count: int = 40, dim: int = 4) -> list[torch.Tensor]:
    z = torch.randn(count, dim, dtype=torch.float64)
    return [z + 0.3 * torch.randn(count, dim, dtype=torch.float64) for _ in range(2)]


def test_the_density_is_the_distance_of_whitened_directions():
    z1, z2 = pair()
    whitened = []
    for z in (z1, z2):
        lower = torch.linalg.cholesky(torch.cov(z.T))
        white = torch.linalg.solve(lower, (z - z.mean(dim=0)).T).T
        torch.testing.assert_close(torch.cov(white.T), torch.eye(4, dtype=torch.float64))
        whitened.append(F.normalize(white))
    expected = -1.7 * (whitened[0] - whitened[1]).square().sum(dim=1)
    ours = WhitenedPlane(1.7).log_prob(z1, z2)
    torch.testing.assert_close(ours, expected, atol=1e-7, rtol=0)


def test_scale_shift_and_triangular_mixing_of_the_latents_do_not_matter():
    z1, z2 = pair()
    mixing = torch.randn(4, 4, dtype=torch.float64).tril(-1) + 3.0 * torch.eye(4).double()
    moved = [z @ mixing.T + 7.0 for z in (z1, z2)]
    latent = WhitenedPlane()
    torch.testing.assert_close(latent.log_prob(*moved), latent.log_prob(z1, z2), atol=1e-7, rtol=0)


def test_gradients_pass_gradcheck():
    leaves = [z.requires_grad_() for z in pair(9, 3)]
    assert torch.autograd.gradcheck(WhitenedPlane().log_prob, leaves, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda z: 0.0 * z,
        lambda z: z[:1].expand_as(z),
        lambda z: z[:, :1] * z[:1],
        lambda z: 1e4 * z,
        lambda z: 1e-6 * z,
        lambda z: z + 1e3,
    ],
    ids=["zero", "collapsed", "one-direction", "huge", "tiny", "far"],
)
def test_degenerate_latents_give_finite_densities_and_gradients(make, dtype):
    leaves = [make(torch.randn(32, 8)).to(dtype).clone().requires_grad_() for _ in range(2)]
    density = WhitenedPlane().log_prob(*leaves)
    density.mean().backward()
    assert torch.isfinite(density).all()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


@pytest.mark.parametrize("shrunk", [slice(None), slice(1, None)], ids=["all", "all but one"])
def test_shrinking_dimensions_gains_nothing_where_it_does_on_the_plane(shrunk):
    views = pair()
    smaller = [z.clone() for z in views]
    for z in smaller:
        z[:, shrunk] *= 1e-2

    def gain(latent: LatentModel) -> torch.Tensor:
        return (latent.log_prob(*smaller) - latent.log_prob(*views)).mean()

    assert gain(GaussianPlane()) > 0.1
    assert abs(gain(WhitenedPlane())) < 1e-3
    assert WhitenedPlane.prevents_collapse


def test_no_entropy_is_allowed_where_whitening_prevents_collapse():
    assert resolve({**SIZES, "latent": "whitened", "entropy": "none"}).target == "same"


def test_a_batch_that_is_too_small_to_whiten_is_one_line():
    with pytest.raises(ValueError, match=r"more samples than that, got a batch of 4: raise"):
        WhitenedPlane().log_prob(torch.randn(4, 4), torch.randn(4, 4))
