"""DirectPred's predictor: computed from the latents, never learned."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from solo_ldm.methods.ldm.body import LDM
from solo_ldm.methods.ldm.direct import DirectPredictor
from tests.support.methods.configurations import method_config


def latents(count: int, dim: int) -> torch.Tensor:
    return torch.randn(count, dim, dtype=torch.float64) * torch.linspace(0.2, 2.0, dim)


def test_the_square_of_the_predictor_is_the_correlation_matrix_over_its_largest_eigenvalue():
    z = latents(50, 6)
    predictor = DirectPredictor(6, momentum=0.0, ridge=0.0).double()
    predictor(z)
    moment = z.T @ z / 50
    expected = moment / torch.linalg.eigvalsh(moment)[-1]
    torch.testing.assert_close(predictor.weight @ predictor.weight, expected)
    torch.testing.assert_close(predictor.weight, predictor.weight.T)


def test_the_ridge_is_added_to_each_eigenvalue():
    z = latents(50, 6)
    predictors = [DirectPredictor(6, ridge=ridge).double() for ridge in (0.0, 0.3)]
    for predictor in predictors:
        predictor(z)
    gap = predictors[1].weight - predictors[0].weight
    torch.testing.assert_close(gap, 0.3 * torch.eye(6, dtype=torch.float64))


def test_the_scale_of_the_latents_does_not_matter_to_the_predictor():
    z = latents(50, 6)
    one, other = (DirectPredictor(6).double() for _ in range(2))
    one(z)
    other(30.0 * z)
    torch.testing.assert_close(one.weight, other.weight)


def test_correlations_are_a_moving_average_of_batches():
    batches = [latents(20, 4) for _ in range(3)]
    predictor = DirectPredictor(4, momentum=0.3).double()
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for z in batches:
        predictor(z)
        expected = 0.3 * expected + 0.7 * z.T @ z / 20
    torch.testing.assert_close(predictor.correlation, expected)


def test_in_evaluation_mode_nothing_moves():
    predictor = DirectPredictor(4)
    predictor(torch.randn(20, 4))
    before = {key: value.clone() for key, value in predictor.state_dict().items()}
    predictor.eval()(torch.randn(20, 4))
    assert all(torch.equal(before[key], value) for key, value in predictor.state_dict().items())


def test_before_the_first_batch_it_predicts_the_latent_itself():
    z = torch.randn(5, 4)
    assert torch.equal(DirectPredictor(4).eval()(z), z)


def test_each_view_has_the_gradient_of_the_predictor_that_it_was_predicted_by():
    predictor = DirectPredictor(4).double()
    first, second = (latents(20, 4).requires_grad_() for _ in range(2))
    predicted = predictor(first)
    weight = predictor.weight.clone()
    predictor(second)
    assert not torch.equal(weight, predictor.weight)
    predicted.sum().backward()
    torch.testing.assert_close(first.grad, weight.sum(dim=1).expand(20, 4))


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_latents_without_a_spectrum_leave_a_finite_predictor(value):
    predictor = DirectPredictor(4)
    predictor(torch.full((8, 4), value))
    assert torch.isfinite(predictor.weight).all()


def test_what_is_not_finite_counts_as_no_correlation():
    predictor = DirectPredictor(3, momentum=0.3).double()
    predictor(latents(20, 3))
    before = predictor.correlation.clone()
    broken = torch.zeros(4, 3, dtype=torch.float64)
    broken[0] = torch.tensor([float("nan"), float("inf"), -1.0])
    predictor(broken)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[2, 2] = 0.25
    torch.testing.assert_close(predictor.correlation, 0.3 * before + 0.7 * expected)


def test_one_direction_in_many_dimensions_has_no_negative_variance():
    z = torch.randn(8, 1, dtype=torch.float64) * torch.randn(1, 40, dtype=torch.float64)
    predictor = DirectPredictor(40, ridge=0.0).double()
    predictor(z.requires_grad_())
    assert predictor.weight.isfinite().all()
    assert not predictor.weight.requires_grad


def test_it_has_nothing_for_the_optimiser(tmp_path):
    method = LDM(method_config(tmp_path, "directpred"))
    assert [group["name"] for group in method.learnable_params] == [
        "backbone",
        "classifier",
        "projector",
    ]
    assert isinstance(method.predictor, DirectPredictor)
    assert list(method.predictor.parameters()) == []
    assert {"predictor.correlation", "predictor.weight"} <= set(method.state_dict())


def test_the_method_predicts_with_the_correlations_of_what_it_gathered(tmp_path):
    method = LDM(method_config(tmp_path, "directpred", direct_momentum=0.0))
    views = [F.normalize(torch.randn(12, 16)) for _ in range(2)]
    method.match(views, [view.detach() for view in views])
    torch.testing.assert_close(method.predictor.correlation, views[1].T @ views[1] / 12)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"direct_momentum": 1.0}, "direct_momentum: expected a number from 0 "),
        ({"direct_ridge": -0.1}, "direct_ridge: expected a number from 0"),
        ({"latent": "conditional"}, "method_kwargs.predictor: expected linear or mlp"),
    ],
)
def test_settings_out_of_range_are_one_line(tmp_path, kwargs, message):
    if "latent" in kwargs:
        kwargs["prediction_precision"] = None
    with pytest.raises(ValueError, match=message) as caught:
        LDM(method_config(tmp_path, "directpred", **kwargs))
    assert "\n" not in str(caught.value)
