"""Presets are the losses that their names promise: values and gradients, against lightly's."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import (
    BarlowTwinsLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    VICRegLoss,
    WMSELoss,
)
from lightly.loss.lejepa_loss import SIGReg, lejepa_invariance_loss
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from tests.support.methods.presets import CLOSE, Views, loss_of, preset, value_and_gradients


def test_simclr_is_lightlys_nt_xent():
    settings = preset("simclr")
    temperature = 1.0 / settings.prediction_precision
    theirs = value_and_gradients(lambda z, p, t: NTXentLoss(temperature)(*z))
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_vicreg_is_lightlys_but_for_half_the_weight_of_the_variances():
    """The paper sums the hinges of both views, its authors' code and lightly average them."""
    settings = preset("vicreg", "method_kwargs.variance_weight=12.5")
    theirs = value_and_gradients(lambda z, p, t: VICRegLoss(mu_param=25.0)(*z))
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_barlow_twins_is_lightlys():
    settings = preset("barlow_twins")
    weight = settings.entropy_kwargs["redundancy_weight"]
    # Their loss writes into what autograd keeps of its inputs, unless these are copies.
    theirs = value_and_gradients(lambda z, p, t: BarlowTwinsLoss(weight)(z[0] + 0, z[1] + 0))
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_simsiam_is_lightlys_negative_cosine_in_both_directions():
    settings = preset("simsiam")
    similarity = NegativeCosineSimilarity()
    theirs = value_and_gradients(
        lambda z, p, t: 0.5 * (similarity(p[0], t[1]) + similarity(p[1], t[0]))
    )
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_byol_is_the_squared_distance_of_both_directions_less_a_constant():
    """‖p̂ − t̂‖² = 2 − 2 cos (BYOL, equation 2), twice; the constant 4 is dropped here."""
    settings = preset("byol")
    similarity = NegativeCosineSimilarity()
    theirs = value_and_gradients(
        lambda z, p, t: 4.0 + 2.0 * (similarity(p[0], t[1]) + similarity(p[1], t[0]))
    )
    ours = value_and_gradients(lambda z, p, t: 4.0 + loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_cpc_contrasts_predictions_of_one_view_with_the_other():
    """The critic exp(κ ẑᵀz) is log-bilinear, as CPC's; the denominators are of the latents."""
    settings = preset("cpc")
    kappa = settings.prediction_precision

    def published(z: Views, p: Views, t: Views) -> Tensor:
        unit = torch.nn.functional.normalize
        z1, z2, p1, p2 = (unit(h) for h in (*z, *p))
        aligned = 0.5 * kappa * ((p1 * z2).sum(dim=1) + (p2 * z1).sum(dim=1)).mean()
        spread = sum(torch.logsumexp(kappa * u @ u.T, dim=1).mean() for u in (z1, z2))
        return spread - aligned

    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, value_and_gradients(published), **CLOSE)


def test_lejepa_is_lightlys_on_the_same_slices():
    """λ of SIGReg and 1 − λ of the distance to the mean view, λ = 0.05: lightly's default."""
    settings = preset("lejepa")
    slices = settings.build_objective().entropy.slices
    sigreg = SIGReg(num_vectors=settings.entropy_kwargs["num_slices"]).double()
    sigreg._generate_unit_vectors = lambda device, dtype, num_features: slices(num_features).to(
        dtype
    )

    def published(z: Views, p: Views, t: Views) -> Tensor:
        both = torch.stack(z)
        return 0.05 * sigreg(both) + 0.95 * lejepa_invariance_loss(all_proj=both, global_proj=both)

    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, value_and_gradients(published), **CLOSE)


def patches(count: int) -> list[Tensor]:
    """Projected patches of the same images, which agree more or less."""
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(24, 10, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, 24, 10, generator=generator, dtype=torch.float64)
    return list(normalize(image + noise, dim=2))


def total_coding_rate(z: Tensor, distortion: float = 0.2) -> Tensor:
    """R(Z) = ½ log det(I + d/(b ε²) Z Zᵀ) with the ε² = 0.2 of the authors' code."""
    batch, dim = z.shape
    return 0.5 * torch.logdet(torch.eye(dim).double() + dim / (batch * distortion) * z.T @ z)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_emp_ssl_is_the_authors_loss_of_many_patches(count):
    """200 times the mean cosine of patches with their mean, and the coding rate of each patch."""
    settings = preset(
        "emp_ssl", "method_kwargs.proj_output_dim=10", "method_kwargs.entropy_weight=5"
    )
    leaves = [(3.0 * one).requires_grad_() for one in patches(count)]
    views = [normalize(one) for one in leaves]
    mean = torch.stack(views).mean(dim=0)
    similarity = sum(cosine_similarity(one, mean).mean() for one in views) / count
    published = -200.0 * similarity - sum(map(total_coding_rate, views)) / count
    ours = settings.build_objective().of_views(views, count).loss
    torch.testing.assert_close(ours, published, **CLOSE)
    gradients = [torch.autograd.grad(one, leaves, retain_graph=True) for one in (ours, published)]
    torch.testing.assert_close(*gradients, **CLOSE)


def test_the_packaged_emp_ssl_weighs_the_whole_coding_rate():
    settings = preset("emp_ssl")
    assert settings.entropy_weight == settings.proj_output_dim / 2
    assert settings.entropy_kwargs["distortion"] ** 2 == pytest.approx(0.2, abs=1e-15)


def test_with_tr_zz_in_place_of_the_cosine_emp_ssl_is_a_cell_of_the_plain_sphere():
    """The paper's equation, D(Z, Z̄) = zᵀz̄ of unit patches and their mean, less a constant."""
    count, weight = 7, 200.0
    views = patches(count)
    mean = torch.stack(views).mean(dim=0)
    published = (
        -sum(total_coding_rate(z) + weight * (z * mean).sum(dim=1).mean() for z in views) / count
    )
    cell = preset(
        "emp_ssl",
        *("method_kwargs.latent=sphere", "method_kwargs.entropy_weight=5"),
        f"method_kwargs.prediction_precision={weight * (count - 1) / count}",
    )
    ours = cell.build_objective().of_views(views, count).loss - weight / count
    torch.testing.assert_close(ours, published, **CLOSE)


def test_wmse_is_lightlys_whitening_the_whole_batch():
    settings = preset("wmse")
    theirs = value_and_gradients(
        lambda z, p, t: WMSELoss(embedding_dim=10, w_size=24).double()(torch.cat(z))
    )
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_jepa_is_the_squared_error_of_predicting_the_average_in_both_directions():
    settings = preset("jepa")
    theirs = value_and_gradients(
        lambda z, p, t: 0.5 * ((p[0] - t[1]).square().mean() + (p[1] - t[0]).square().mean())
    )
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    precision = settings.prediction_precision
    expected = (precision * theirs[0], tuple(precision * one for one in theirs[1]))
    torch.testing.assert_close(ours, expected, **CLOSE)


@pytest.mark.parametrize(
    "name",
    [
        "simclr",
        "vicreg",
        "byol",
        "simsiam",
        "cpc",
        "barlow_twins",
        "jepa",
        "lejepa",
        "wmse",
        "directpred",
        "product",
        "emp_ssl",
    ],
)
def test_a_preset_is_a_file_of_keys_that_the_method_knows(name):
    settings = preset(name)
    assert settings.build_objective().latent.support == settings.support
