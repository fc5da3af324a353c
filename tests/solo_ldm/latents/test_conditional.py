"""The conditional Gaussian: densities, bounds, warm-up, stop-gradient as an entropy."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import distributions as td

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.latents import ConditionalGaussian
from solo_ldm.latents.conditional import PredictedGaussian
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.body import LDMBody
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective
from tests.solo_ldm.methods.test_methods import SIZES, method_config
from tests.solo_ldm.test_objective import LargestTensor, degenerate
from tests.support.toy import toy_config

COVARIANCES = ("diagonal", "low_rank", "full")
DIM = 5

each_covariance = pytest.mark.parametrize("covariance", COVARIANCES)


def warm(covariance: str, **settings) -> ConditionalGaussian:
    model = ConditionalGaussian(covariance, **settings)  # pyright: ignore[reportArgumentType]
    model.at(1.0)
    return model


def drawn(model: ConditionalGaussian, count: int = 7, size: float = 2.0):
    """Return random predictions and latents in float64, with gradients."""
    shapes = (count, model.prediction_dim(DIM)), (count, DIM)
    return [(size * torch.randn(*s, dtype=torch.float64)).requires_grad_() for s in shapes]


def torchs(gaussian: PredictedGaussian) -> td.Distribution:
    """Build the same distribution of torch's, by another path."""
    mean, std = gaussian.mean, gaussian.std
    if gaussian.correlation is not None:
        return td.MultivariateNormal(mean, std[:, :, None] * gaussian.correlation * std[:, None])
    if gaussian.factor is not None:
        own = std.square() * (1.0 - gaussian.factor.square().sum(dim=2))
        return td.LowRankMultivariateNormal(mean, std[..., None] * gaussian.factor, own)
    return td.Independent(td.Normal(mean, std), 1)


@each_covariance
def test_densities_entropies_and_gradients_are_torchs(covariance):
    model = warm(covariance, covariance_rank=2)
    h, z = drawn(model)
    theirs = torchs(model.gaussian(h, DIM))
    ours = model.gaussian(h, DIM)
    torch.testing.assert_close(ours.entropy(), theirs.entropy(), atol=1e-10, rtol=0)
    expected = theirs.log_prob(z)
    torch.testing.assert_close(ours.log_prob(z), expected, atol=1e-9, rtol=1e-12)
    scaled = expected / DIM + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(model.log_prob(h, z), scaled, atol=1e-9, rtol=1e-12)
    for mine, other in zip(
        torch.autograd.grad(model.log_prob(h, z).sum(), (h, z)),
        torch.autograd.grad(scaled.sum(), (h, z)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9)


@each_covariance
def test_gradients_pass_gradcheck(covariance):
    model = warm(covariance, covariance_rank=2)
    assert torch.autograd.gradcheck(model.log_prob, drawn(model, count=3))


def test_covariances_agree_without_correlations():
    mean_and_std, z = torch.randn(7, 2 * DIM, dtype=torch.float64), torch.randn(7, DIM)
    values = []
    for covariance in COVARIANCES:
        model = warm(covariance, covariance_rank=3)
        h = torch.zeros(7, model.prediction_dim(DIM), dtype=torch.float64)
        h[:, : 2 * DIM] = mean_and_std
        values.append(model.log_prob(h, z.double()))
    torch.testing.assert_close(values[0], values[1], atol=1e-12, rtol=0)
    torch.testing.assert_close(values[0], values[2], atol=1e-12, rtol=0)


def test_low_rank_and_full_agree_on_one_correlation():
    """In two dimensions each can say any correlation below 0.99."""
    low, full = warm("low_rank", covariance_rank=1), warm("full")
    h = torch.tensor([[0.3, -0.2, 0.5, 0.1, 0.8, -1.1]], dtype=torch.float64)
    z = torch.tensor([[1.0, 0.4]], dtype=torch.float64)
    factor = low.gaussian(h, 2).factor
    assert factor is not None
    share = float(factor[0, 0] @ factor[0, 1]) / 0.99  # = a / √(1 + a²) of the full one
    number = math.sqrt(2.0) * share / math.sqrt(1.0 - share**2)
    other = torch.cat([h[:, :4], torch.tensor([[number]], dtype=torch.float64)], dim=1)
    assert abs(share) > 0.2
    torch.testing.assert_close(low.log_prob(h, z), full.log_prob(other, z), atol=1e-12, rtol=0)


@each_covariance
@pytest.mark.parametrize("size", [0.0, 1.0, 1e2, 1e15])
def test_standard_deviations_and_eigenvalues_stay_within_their_bounds(covariance, size):
    model = warm(covariance, smallest_std=0.05, largest_std=3.0)
    h, _ = drawn(model, size=size)
    gaussian = model.gaussian(h, DIM)
    assert gaussian.std.min() >= 0.05 * (1 - 1e-12)
    assert gaussian.std.max() <= 3.0 * (1 + 1e-12)
    if covariance != "diagonal":
        scale = gaussian.std[:, :, None] * gaussian.std[:, None]
        correlation: Any = getattr(torchs(gaussian), "covariance_matrix") / scale  # noqa: B009
        torch.testing.assert_close(
            correlation.diagonal(dim1=1, dim2=2), torch.ones(7, DIM).double()
        )
        assert torch.linalg.eigvalsh(correlation).min() >= 0.01 - 1e-9


def test_a_prediction_at_the_bound_still_has_a_gradient():
    model = warm("diagonal")
    h = torch.full((1, 2), 40.0, dtype=torch.float64, requires_grad=True)
    model.gaussian(h, 1).std.log().sum().backward()
    assert h.grad is not None
    # tanh would leave 1e-22 here.
    assert 1e-6 < float(h.grad[0, 1]) < 1e-3


@each_covariance
def test_the_warm_up_starts_isotropic_and_ends_at_the_prediction(covariance):
    model = ConditionalGaussian(covariance, 2, 0.1, 2.0, covariance_warm_up=0.2)
    h, z = drawn(model)
    isotropic = td.Normal(h[:, :DIM], math.sqrt(0.1 * 2.0)).log_prob(z).sum(dim=1)
    torch.testing.assert_close(model.gaussian(h, DIM).log_prob(z), isotropic)
    spread = []
    for progress in (0.0, 0.1, 0.2, 1.0):
        model.at(progress)
        spread.append(model.gaussian(h, DIM).std.log().std().item())
    assert spread[0] == 0.0
    assert spread[1] == pytest.approx(spread[2] / 2)
    assert spread[2] == spread[3]
    torch.testing.assert_close(
        model.log_prob(h, z), warm(covariance, covariance_rank=2).log_prob(h, z)
    )
    at_once = ConditionalGaussian(covariance, 2, covariance_warm_up=0.0)
    torch.testing.assert_close(at_once.log_prob(h, z), model.log_prob(h, z))


@each_covariance
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "kind",
    ["zero", "collapsed", "duplicated", "near-duplicates", "huge", "tiny", "one-direction", "far"],
)
def test_degenerate_latents_and_predictions_give_finite_values(kind, dtype, progress, covariance):
    model = ConditionalGaussian(covariance, covariance_warm_up=1.0)
    model.at(progress)
    z = degenerate(kind, dtype, 1e15).requires_grad_()
    repeats = math.ceil(model.prediction_dim(z.shape[1]) / z.shape[1])
    h = z.detach().flip(0).repeat(1, repeats)[:, : model.prediction_dim(z.shape[1])]
    h = h.clone().requires_grad_()
    value = model.log_prob(h, z)
    assert value.dtype == torch.float32
    value.mean().backward()
    for one in (value, h.grad, z.grad):
        assert one is not None
        assert torch.isfinite(one).all()


def test_autocast_leaves_the_density_in_float32():
    model = warm("full")
    h, z = (one.detach().float() for one in drawn(model))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.log_prob(h, z)
    torch.testing.assert_close(mixed, model.log_prob(h, z))


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank"])
def test_no_step_makes_a_tensor_of_samples_times_dimensions_squared(covariance):
    model = warm(covariance, covariance_rank=3)
    h = torch.randn(12, model.prediction_dim(64), requires_grad=True)
    z = torch.randn(12, 64, requires_grad=True)
    with LargestTensor() as largest:
        model.log_prob(h, z).sum().backward()
    assert largest.elements <= h.numel()


def conditional_method(tmp_path, **method_kwargs):
    kwargs = {
        "latent": "conditional",
        "entropy": "none",
        "predictor": "mlp",
        "target": "detached",
        **method_kwargs,
    }
    return find_method("ldm")(method_config(tmp_path, "ldm", **kwargs))


@each_covariance
def test_stop_gradient_is_the_plug_in_conditional_entropy(tmp_path, covariance):
    """−E log p(z2 | z1) − H, H = −E log p̄(z2 | z̄1) with all but z2 held constant."""
    method = conditional_method(tmp_path, covariance=covariance, covariance_rank=2)
    latent = method.objective.latent
    latent.at(1.0)
    network = [*method.projector.parameters(), *method.predictor.parameters()]
    feats = [torch.randn(16, method.features_dim) for _ in range(2)]

    def gradients(loss):
        return torch.autograd.grad(loss, network, retain_graph=True)

    z1, z2 = (method.projector(one) for one in feats)
    stopped = method.match([z1, z2], method.targets(None, [z1, z2]))
    p1, p2 = (method.predictor(z) for z in (z1, z2))
    likelihood = 0.5 * (latent.log_prob(p1, z2) + latent.log_prob(p2, z1)).mean()
    plug_in = -0.5 * (latent.log_prob(p1.detach(), z2) + latent.log_prob(p2.detach(), z1)).mean()
    for ours, theirs in zip(gradients(stopped.loss), gradients(-likelihood - plug_in), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
    # Not so without the entropy: the likelihood alone also moves z2.
    alone = torch.cat([one.flatten() for one in gradients(-likelihood)])
    detached = torch.cat([one.flatten() for one in gradients(stopped.loss)])
    assert (alone - detached).norm() > 0.1 * detached.norm()


def test_the_likelihood_alone_falls_to_the_bound_and_stop_gradient_does_not():
    """Free latents and a free mean: without an entropy σ and residuals vanish together."""
    smallest = 0.1
    spreads = {}
    for detach in (False, True):
        torch.manual_seed(0)
        z = torch.randn(64, 1, requires_grad=True)
        h = torch.zeros(1, 2, requires_grad=True)
        model = warm("diagonal", smallest_std=smallest, largest_std=4.0)
        optimizer = torch.optim.Adam([z, h], lr=0.05)
        for _ in range(400):
            target = z.detach() if detach else z
            loss = -model.log_prob(h.expand(64, -1), target).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        spreads[detach] = z.std().item(), model.gaussian(h, 1).std.item()
    assert spreads[False][0] < 0.02
    assert spreads[False][1] < 1.3 * smallest
    # The target keeps its spread, and the predicted σ becomes that spread.
    assert spreads[True][1] == pytest.approx(spreads[True][0], rel=0.05)


def test_half_the_marginal_entropies_make_the_loss_independent_of_the_scale():
    """As a bound of the mutual information is, as long as σ keeps off its bounds."""
    settings = {**SIZES, "latent": "conditional", "predictor": "linear", "entropy": "logdet",
                "ridge": 1e-12, "entropy_weight": 0.5, "over": "marginal"}  # fmt: skip
    objective: Any = resolve(settings).build_objective()
    z1, z2 = (torch.randn(64, DIM, dtype=torch.float64) for _ in range(2))
    losses = []
    for scale in (1.0, 1.7):
        latent = ConditionalGaussian("diagonal", 1, 0.1 * scale, 2.0 * scale, 0.0)
        objective.latent = latent
        h = torch.cat([scale * 0.3 * z1, torch.sin(z1)], dim=1)
        losses.append(objective(scale * z1, scale * z2, (h, h)).loss)
    torch.testing.assert_close(losses[0], losses[1], atol=1e-9, rtol=0)


@each_covariance
def test_the_predictor_has_the_outputs_that_the_covariance_needs(tmp_path, covariance):
    method = conditional_method(tmp_path, covariance=covariance, covariance_rank=3)
    dim = 16
    expected = {"diagonal": 2 * dim, "low_rank": 5 * dim, "full": 2 * dim + dim * (dim - 1) // 2}
    assert method.predictor[-1].out_features == expected[covariance]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"covariance": "round"},
            "covariance: expected diagonal, low_rank or full, got 'round'",
        ),
        ({"covariance_rank": 0}, "covariance_rank must be at least 1"),
        ({"covariance": "low_rank", "covariance_rank": 99}, "covariance_rank must be at most 16"),
        ({"smallest_std": 0.0}, "smallest_std must be above 0"),
        ({"smallest_std": 3.0}, "smallest_std must be below largest_std"),
        ({"covariance_warm_up": 1.5}, "covariance_warm_up must lie between 0 and 1"),
        ({"predictor": "none"}, "method_kwargs.predictor: expected linear or mlp"),
        ({"prediction_precision": 3.0}, "latent=conditional has none"),
        ({"covarience": "full"}, "did you mean covariance?"),
    ],
)
def test_wrong_settings_are_one_clear_line(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as caught:
        conditional_method(tmp_path, **wrong)
    assert "\n" not in str(caught.value)


def test_predictions_of_a_wrong_shape_are_one_clear_line():
    model = warm("diagonal")
    for h, z in itertools.product([torch.randn(4, 3)], [torch.randn(4, 2), torch.randn(5, 2)]):
        with pytest.raises(ValueError, match="prediction") as caught:
            model.log_prob(h, z)
        assert "\n" not in str(caught.value)


def test_the_entropy_must_live_on_the_plane():
    from solo_ldm.entropy import KernelEntropy

    with pytest.raises(ValueError, match="lives on the plane"):
        LDMObjective(ConditionalGaussian(), KernelEntropy("sphere"))


def test_settings_are_recorded_complete(tmp_path):
    cfg = method_config(
        tmp_path, "ldm", latent="conditional", predictor="linear", covariance="full"
    )
    description = find_method("ldm").describe(OmegaConf.create(cfg))
    assert description.settings["latent_kwargs"] == {"covariance": "full"}
    assert description.axes["latent"] == "conditional"


@pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")
def test_a_run_stopped_in_the_warm_up_continues_bit_for_bit(tmp_path, monkeypatch):
    cfg = ("max_epochs=3", "method_kwargs.covariance_warm_up=1.0")
    shares: list[float] = []
    match = LDMBody.match

    def noted(self, *arguments):
        if len(shares) == 6:
            shares.append(-1.0)
            raise RuntimeError("stopped")
        shares.append(self.objective.latent.share)
        return match(self, *arguments)

    whole = pretrain(toy_config(tmp_path / "whole", *cfg, name="gje"))
    monkeypatch.setattr(LDMBody, "match", noted)
    with pytest.raises(RuntimeError, match="stopped"):
        pretrain(toy_config(tmp_path / "stopped", *cfg, name="gje"))
    resumed = pretrain(toy_config(tmp_path / "stopped", *cfg, name="gje"))

    assert whole is not None and resumed is not None  # noqa: PT018
    # 4 steps an epoch: stopped in the second, continued from the first.
    assert shares == pytest.approx(
        [*(i / 12 for i in range(6)), -1.0, *(i / 12 for i in range(4, 12))]
    )
    expected, actual = load_file(whole.folder.backbone), load_file(resumed.folder.backbone)
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
