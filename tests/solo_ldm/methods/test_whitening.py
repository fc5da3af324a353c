"""The whitening layer: unit covariance in training, averages in evaluation, nothing degenerate."""

from __future__ import annotations

import pytest
import torch

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.whitening import Whitening
from tests.support.methods.configurations import method_config
from tests.support.toy import toy_config

DIM, BATCH = 6, 40


def correlated(count: int = BATCH, dim: int = DIM, **kind) -> torch.Tensor:
    """Return samples whose dimensions differ in scale and go together."""
    mixing = torch.randn(dim, dim, **kind) + torch.diag(torch.arange(1.0, dim + 1.0)).to(**kind)
    return torch.randn(count, dim, **kind) @ mixing + 3.0


def covariance(y: torch.Tensor) -> torch.Tensor:
    return torch.cov(y.T)


def test_outputs_have_zero_mean_and_unit_covariance():
    y = Whitening(DIM, ridge=1e-9)(correlated())
    torch.testing.assert_close(y.mean(dim=0), torch.zeros(DIM), atol=1e-5, rtol=0)
    torch.testing.assert_close(covariance(y), torch.eye(DIM), atol=1e-4, rtol=0)


def test_a_direction_of_next_to_no_variance_is_not_blown_up():
    h = correlated(dtype=torch.float64)
    h[:, -1] = h[:, 0] + 1e-6 * torch.randn(BATCH)
    layer = Whitening(DIM, ridge=1e-3)
    variances = torch.linalg.eigvalsh(covariance(layer(h)))
    values = torch.linalg.eigvalsh(covariance(h))
    # The docstring's v / (v + ε).
    v = values / values.mean()
    torch.testing.assert_close(variances, v / (v + 1e-3), atol=1e-9, rtol=0)
    assert variances[0] < 1e-6
    assert variances[1] > 0.5


def test_scale_and_shift_of_the_inputs_change_nothing():
    h = correlated(dtype=torch.float64)
    torch.testing.assert_close(Whitening(DIM)(100.0 * h - 7.0), Whitening(DIM)(h))


def test_gradients_pass_through_the_statistics():
    layer, h = Whitening(3), correlated(8, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(layer, h)
    # Shifting or scaling all samples changes nothing, so that no gradient points that way.
    (gradient,) = torch.autograd.grad((layer(h) ** 3).sum(), h)
    torch.testing.assert_close(gradient.sum(dim=0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    assert abs((gradient * h).sum().item()) < 1e-8
    assert gradient.norm() > 1e-3


def test_evaluation_uses_the_averages_of_the_training():
    layer, batches = Whitening(DIM, momentum=0.3), [correlated() for _ in range(3)]
    mean, average = torch.zeros(DIM), torch.eye(DIM)
    for h in batches:
        layer(h)
        mean = 0.7 * mean + 0.3 * h.mean(dim=0)
        average = 0.7 * average + 0.3 * covariance(h)
    layer.eval()
    h = correlated()
    together = layer(h)
    torch.testing.assert_close(together[:1], layer(h[:1]))  # whatever the batch
    ridge = 1e-3 * average.diagonal().mean() * torch.eye(DIM)
    factor = torch.linalg.cholesky(average + ridge)
    expected = torch.linalg.solve_triangular(factor, (h - mean).T, upper=False).T
    torch.testing.assert_close(together, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.mean, mean)


def test_averages_have_no_graph():
    layer = Whitening(DIM)
    layer(correlated().requires_grad_())
    assert not layer.mean.requires_grad
    assert not layer.covariance.requires_grad
    assert (layer.ridge, layer.momentum) == (1e-3, 0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["zero", "alike", "one direction", "tiny", "huge"])
def test_degenerate_inputs_give_finite_outputs_and_gradients(kind, dtype):
    one = torch.randn(1, DIM)
    h = {
        "zero": torch.zeros(BATCH, DIM),
        "alike": one.expand(BATCH, -1),
        "one direction": torch.randn(BATCH, 1) * one,
        "tiny": 1e-7 * torch.randn(BATCH, DIM),
        "huge": 1e4 * torch.randn(BATCH, DIM),
    }[kind]
    h = h.to(dtype).clone().requires_grad_()
    y = Whitening(DIM)(h)
    assert y.dtype == torch.float32
    y.square().mean().backward()
    assert torch.isfinite(y).all()
    assert h.grad is not None
    assert torch.isfinite(h.grad).all()


def test_autocast_leaves_the_whitening_in_float32():
    h = correlated()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = Whitening(DIM)(h)
    torch.testing.assert_close(mixed, Whitening(DIM)(h))


def test_it_is_the_last_layer_of_the_projector_in_place_of_batch_norm(tmp_path):
    kwargs = {"proj_output_batch_norm": True, "proj_layers": 1}
    for whitened, last in ((None, "BatchNorm1d"), (False, "BatchNorm1d"), (True, "Whitening")):
        cfg = method_config(
            tmp_path, "ldm", latent="plane", proj_output_whitening=whitened, **kwargs
        )
        projector = find_method("ldm")(cfg).projector
        assert [type(layer).__name__ for layer in projector] == ["Linear", last]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Whitening(DIM)(torch.randn(DIM, DIM)),
            "expected more than 6 samples to whiten as many dimensions, got",
        ),
        (lambda: Whitening(DIM, ridge=0.0), "ridge: expected a number above 0"),
        (lambda: Whitening(DIM, momentum=0.0), "momentum: expected a number above 0"),
    ],
)
def test_wrong_use_is_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_batch_too_small_to_whiten_is_refused_before_training(tmp_path):
    cfg = method_config(tmp_path, "ldm", latent="plane", proj_output_whitening=True)
    cfg.optimizer.batch_size = cfg.method_kwargs.proj_output_dim
    with pytest.raises(ValueError, match="expected more than 16, to whiten as many dimensions"):
        find_method("ldm")(cfg)


@pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")
def test_a_detached_target_leaves_whitened_latents_all_their_dimensions(tmp_path):
    """Batch normalisation makes every variance 1 as well, and leaves a few directions."""
    ranks = {}
    for whitened in (True, False):
        chosen = f"method_kwargs.proj_output_whitening={whitened}"
        normalised = f"method_kwargs.proj_output_batch_norm={not whitened}"
        outcome = pretrain(toy_config(tmp_path, chosen, normalised, "evaluation.protocols=[]",
                                      "max_epochs=4", "optimizer.lr=0.03", name="gje"))  # fmt: skip
        assert outcome is not None
        ranks[whitened] = outcome.results["health"]["z_effective_rank"]
        assert outcome.results["health"]["z_std_min"] > 0.8
    assert ranks[True] > 0.9 * 16
    assert ranks[False] < 0.5 * 16
