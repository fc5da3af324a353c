"""Methods on the conditional Gaussian: stop-gradient as an entropy, settings, runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.latents import ConditionalGaussian
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.body import LDMBody
from solo_ldm.methods.ldm.method_kwargs import resolve
from tests.support.methods.configurations import SIZES, method_config
from tests.support.toy import toy_config

COVARIANCES = ("diagonal", "low_rank", "full")
DIM = 5

each_covariance = pytest.mark.parametrize("covariance", COVARIANCES)


def warm(covariance: str, **settings) -> ConditionalGaussian:
    model = ConditionalGaussian(covariance, **settings)  # pyright: ignore[reportArgumentType]
    model.at(1.0)
    return model


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
        spreads[detach] = z.std().item(), model.gaussian(h, 1).stddev.item()
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
        ({"covariance_rank": 0}, "covariance_rank: expected a whole number from 1"),
        ({"covariance": "low_rank", "covariance_rank": 99}, "covariance_rank: expected at most 16"),
        ({"smallest_std": 0.0}, "smallest_std: expected a number above 0"),
        ({"smallest_std": 3.0}, "smallest_std: expected less than largest_std"),
        ({"covariance_warm_up": 1.5}, "covariance_warm_up: expected a number from 0 to 1"),
        ({"predictor": "none"}, "method_kwargs.predictor: expected linear or mlp"),
        ({"prediction_precision": 3.0}, "latent=conditional has none"),
        ({"covarience": "full"}, "did you mean covariance?"),
    ],
)
def test_wrong_settings_are_one_clear_line(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as caught:
        conditional_method(tmp_path, **wrong)
    assert "\n" not in str(caught.value)


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
