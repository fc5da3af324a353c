"""Agreement of recovered with true latents, and cosines of gradients."""

import math

import pytest
import torch

from predictive.decoding.identifiability import (
    affine_r2,
    cosine_similarity_of_gradients,
    identifiability,
    procrustes_r2,
)
from tests.support.predictive.series import close


def halves(recovered, true):
    half = len(true) // 2
    return recovered[:half], true[:half], recovered[half:], true[half:]


def latents(dim=3, bins=600):
    return torch.randn(bins, dim, dtype=torch.float64)


def rotation(dim):
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64)).Q


def test_an_affine_image_of_the_true_latents_has_r2_one_and_its_map_is_found():
    true = latents()
    matrix, offset = torch.randn(3, 3, dtype=torch.float64), torch.tensor([5.0, -1.0, 100.0])
    fit = affine_r2(*halves(true @ matrix + offset, true))
    assert fit.r2 == pytest.approx(1.0, abs=1e-12)
    close(fit.per_dim, torch.ones(3, dtype=torch.float64))
    close(matrix @ fit.matrix, torch.eye(3, dtype=torch.float64))
    close((true @ matrix + offset) @ fit.matrix + fit.offset, true)


def test_affine_r2_does_not_change_under_invertible_affine_maps_of_the_recovered_latents():
    true = latents()
    recovered = torch.tanh(true) + 0.1 * latents()
    before = affine_r2(*halves(recovered, true))
    after = affine_r2(*halves(recovered @ torch.randn(3, 3).double() * 1e3 - 7.0, true))
    assert 0.5 < before.r2 < 0.99
    assert after.r2 == pytest.approx(before.r2, abs=1e-10)


def test_a_nonlinear_warp_of_the_latents_is_below_one():
    true = latents()
    assert affine_r2(*halves(true**3, true)).r2 < 0.9


def test_unrelated_latents_score_about_zero_on_other_sequences_and_not_above():
    assert -0.2 < affine_r2(*halves(latents(), latents())).r2 < 0.02


def test_recovered_latents_that_hold_more_score_less_in_the_other_direction():
    true = latents()
    recovered = torch.cat([true @ rotation(3), latents(1)], dim=1)
    result = identifiability(*halves(recovered, true))
    assert result.to_true.r2 == pytest.approx(1.0)
    assert 0.6 < result.to_recovered.r2 < 0.85  # three dimensions of four, of equal variance
    assert result.procrustes is None


def test_a_rotation_with_a_scale_has_procrustes_r2_one_and_a_shear_does_not():
    true = latents()
    turned = 0.3 * true @ rotation(3) + 4.0
    fit = procrustes_r2(*halves(turned, true))
    assert fit.r2 == pytest.approx(1.0)
    gram = fit.matrix.mT @ fit.matrix
    close(gram, torch.eye(3, dtype=torch.float64) / 0.3**2)
    sheared = true @ torch.diag(torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64))
    result = identifiability(*halves(sheared, true))
    assert result.procrustes is not None
    assert result.to_true.r2 == pytest.approx(1.0)
    assert result.procrustes.r2 < 0.7


def test_procrustes_finds_the_least_squares_among_rotations_and_scales():
    true = latents(2)
    recovered = torch.tanh(true @ torch.randn(2, 2).double()) + 0.1 * latents(2)
    parts = (recovered, true, recovered, true)
    fit = procrustes_r2(*parts)
    for _ in range(20):
        scale = fit.matrix.det().abs().sqrt() * (1.0 + 0.1 * torch.randn(()))
        x, y = recovered - recovered.mean(dim=0), true - true.mean(dim=0)
        error = (y - scale * x @ rotation(2)).square().sum()
        assert 1.0 - error / y.square().sum() <= fit.r2
    assert fit.r2 <= affine_r2(*parts).r2


def test_bins_without_true_latents_are_left_out():
    true = latents()
    recovered = torch.tanh(true)
    parts = halves(recovered, true)
    keep = torch.arange(300) % 3 != 0
    gaps = [part.clone() for part in parts]
    gaps[1][~keep], gaps[3][~keep, 0] = math.nan, math.nan
    expected = identifiability(*(part[keep] for part in parts))
    actual = identifiability(*gaps)
    assert actual.to_true.r2 == pytest.approx(expected.to_true.r2)
    assert actual.to_recovered.r2 == pytest.approx(expected.to_recovered.r2)


def test_a_constant_recovered_latent_does_no_harm():
    true = latents()
    recovered = torch.cat([true, torch.full((600, 1), 3.0)], dim=1)
    assert affine_r2(*halves(recovered, true)).r2 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((latents(3)[:4], latents(3)[:4], latents(3), latents(3)), "expected more than 4 bins"),
        ((latents(3), latents(2), latents(3), latents(3)), "same dimensions"),
        ((latents(3) * math.nan, latents(2), latents(3), latents(2)), "expected finite ones"),
    ],
)
def test_inputs_that_cannot_be_fitted_give_one_line(parts, message):
    with pytest.raises(ValueError, match=message) as caught:
        affine_r2(*parts)
    assert "\n" not in str(caught.value)


def test_a_rotation_between_unequal_dimensions_is_refused():
    with pytest.raises(ValueError, match="use affine_r2"):
        procrustes_r2(latents(3), latents(2), latents(3), latents(2))


def test_the_cosine_of_a_gradient_is_one_with_itself_minus_one_with_its_opposite():
    network = torch.nn.Linear(3, 2)
    loss = network(torch.randn(5, 3)).square().mean()
    parameters = list(network.parameters())
    assert cosine_similarity_of_gradients(loss, 3.0 * loss, parameters) == pytest.approx(1.0)
    assert cosine_similarity_of_gradients(loss, -loss, parameters) == pytest.approx(-1.0)
    loss.backward()  # the graph is still there


def test_the_cosine_of_orthogonal_and_of_oblique_gradients():
    weight = torch.nn.Parameter(torch.randn(2))
    bias = torch.nn.Parameter(torch.randn(()))
    first, second = weight[0] + 0.0, weight[1] + weight[0]
    assert cosine_similarity_of_gradients(first, weight[1], [weight]) == 0.0
    assert cosine_similarity_of_gradients(first, bias, [weight, bias]) == 0.0
    assert cosine_similarity_of_gradients(first, second, [weight, bias]) == pytest.approx(0.5**0.5)


def test_the_cosine_spans_gradients_too_large_or_small_for_float32_squares():
    weight = torch.nn.Parameter(torch.randn(4))
    direction = torch.randn(4)
    first, second = 1e-30 * (direction * weight).sum(), 1e30 * (direction * weight).sum()
    assert cosine_similarity_of_gradients(first, second, [weight]) == pytest.approx(1.0)


def test_a_gradient_of_zero_has_no_cosine():
    weight = torch.nn.Parameter(torch.randn(2))
    assert math.isnan(cosine_similarity_of_gradients(weight.sum(), 0.0 * weight.sum(), [weight]))
    assert math.isnan(cosine_similarity_of_gradients(weight.sum(), torch.tensor(1.0), [weight]))


def test_a_cosine_without_parameters_or_of_a_vector_is_refused():
    weight = torch.nn.Parameter(torch.randn(2))
    with pytest.raises(ValueError, match="at least one that requires a gradient"):
        cosine_similarity_of_gradients(weight.sum(), weight.sum(), [])
    with pytest.raises(ValueError, match="expected scalars"):
        cosine_similarity_of_gradients(weight, weight.sum(), [weight])
