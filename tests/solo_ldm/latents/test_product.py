"""Product latents: each block of dimensions is a cell of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from solo_ldm.latents import GaussianPlane, ProductLatent, VonMisesFisherSphere
from solo_ldm.methods.ldm.body import LDM
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective, ProductObjective
from tests.support.toy import plain, toy_config

SIZES = {"proj_hidden_dim": 8}
PLANE = {"latent": "plane", "dim": 3, "entropy": "logdet", "over": "joint"}
SPHERE = {"latent": "sphere", "dim": 4, "entropy": "kernel", "over": "pooled"}
CONDITIONAL = {"latent": "conditional", "dim": 2, "entropy": "logdet", "covariance": "full"}


def product(*blocks: dict[str, Any], **others: Any):
    return resolve({**SIZES, "latent": "product", "blocks": list(blocks), **others})


def views(objective: ProductObjective, count: int = 12, dim: int = 7) -> list[torch.Tensor]:
    made = [torch.randn(count, dim, dtype=torch.float64) for _ in range(2)]
    return [objective.latent.project(h).requires_grad_() for h in made]


def alone(block: dict[str, Any]) -> LDMObjective:
    kwargs = {key: value for key, value in block.items() if key != "dim"}
    objective = resolve({**SIZES, **kwargs, "proj_output_dim": block["dim"]}).build_objective()
    assert isinstance(objective, LDMObjective)
    return objective


def test_the_terms_are_the_sums_of_those_of_the_blocks_alone():
    weighted = {**SPHERE, "entropy_weight": 0.4}
    objective = product(PLANE, weighted).build_objective()
    z1, z2 = views(objective)
    plane = alone(PLANE)(z1[:, :3], z2[:, :3])
    sphere = alone(weighted)(z1[:, 3:], z2[:, 3:])
    terms = objective(z1, z2)
    torch.testing.assert_close(terms.loss, plane.loss + sphere.loss)
    torch.testing.assert_close(terms.log_prob, plane.log_prob + sphere.log_prob)
    torch.testing.assert_close(terms.entropy, plane.entropy + 0.4 * sphere.entropy)
    torch.testing.assert_close(terms.loss, -terms.log_prob - terms.entropy)


def test_a_product_of_one_block_is_that_block():
    objective = product(SPHERE).build_objective()
    z1, z2 = views(objective, dim=4)
    torch.testing.assert_close(tuple(objective(z1, z2)), tuple(alone(SPHERE)(z1, z2)))


def test_each_block_is_projected_on_its_support():
    latent = ProductLatent([GaussianPlane(), VonMisesFisherSphere()], [3, 4])
    h = torch.randn(6, 7)
    z = latent.project(h)
    assert torch.equal(z[:, :3], h[:, :3])
    torch.testing.assert_close(z[:, 3:], torch.nn.functional.normalize(h[:, 3:]))


def test_the_log_density_is_the_sum_over_blocks():
    latent = ProductLatent([GaussianPlane(2.0), VonMisesFisherSphere(3.0)], [3, 4])
    z1, z2 = (latent.project(torch.randn(6, 7)) for _ in range(2))
    expected = GaussianPlane(2.0).log_prob(z1[:, :3], z2[:, :3])
    expected = expected + VonMisesFisherSphere(3.0).log_prob(z1[:, 3:], z2[:, 3:])
    torch.testing.assert_close(latent.log_prob(z1, z2), expected)


def test_predictions_and_targets_reach_their_blocks():
    """A block that predicts more than a point takes more of the predictor's outputs."""
    blocks = (PLANE, CONDITIONAL, SPHERE)
    objective = product(*blocks, predictor="linear", target="detached").build_objective()
    assert objective.latent.prediction_dim(9) == 3 + (4 + 1) + 4
    z1, z2 = views(objective, dim=9)
    says = tuple(objective.latent.prediction(torch.randn(12, 12).double()) for _ in range(2))
    aims = (z1.detach(), z2.detach())
    expected, at, said = 0.0, 0, 0
    for block, width in zip(blocks, (3, 5, 4), strict=True):
        one = {**block, "predictor": "linear", "target": "detached"}
        here, there = slice(at, at + block["dim"]), slice(said, said + width)
        expected += alone(one)(
            z1[:, here],
            z2[:, here],
            (says[0][:, there], says[1][:, there]),
            (aims[0][:, here], aims[1][:, here]),
        ).loss
        at, said = here.stop, there.stop
    torch.testing.assert_close(objective(z1, z2, says, aims).loss, expected)


def test_gradients_pass_gradcheck():
    objective = product(PLANE, SPHERE).build_objective()
    leaves = [torch.randn(7, 7, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def loss(a, b):
        return objective(objective.latent.project(a), objective.latent.project(b)).loss

    assert torch.autograd.gradcheck(loss, leaves, eps=1e-6, atol=1e-5)


def test_keys_beside_the_blocks_are_their_defaults():
    settings = product({"latent": "plane", "dim": 3}, SPHERE, entropy="neighbour", over="marginal")
    assert [block.entropy for block in settings.blocks] == ["neighbour", "kernel"]
    assert [block.over for block in settings.blocks] == ["marginal", "pooled"]
    assert settings.proj_output_dim == 7
    assert settings.support == "product"
    assert settings.build_objective().fewest_samples == 4


def test_a_product_trains_as_any_latent(tmp_path):
    cfg = plain(toy_config(tmp_path, "method_kwargs.proj_output_dim=7", name="product"))
    cfg["method_kwargs"].update(blocks=[PLANE, SPHERE], predictor="linear")
    cfg["data"].update(num_classes=10, image_size=16, num_large_crops=2, num_small_crops=0)
    cfg = OmegaConf.create(cfg)
    description = LDM.describe(cfg)
    assert description.axes["latent"] == "product"
    assert description.axes["entropy"] == "logdet × kernel"
    assert description.headline.startswith("plane of 3 (logdet entropy, joint) × sphere of 4")
    method = LDM(cfg)
    method.log_dict = lambda *args, **kwargs: None  # pyright: ignore[reportAttributeAccessIssue]
    crops = [torch.randn(12, 3, 16, 16) for _ in range(2)]
    out = method.training_step([torch.arange(12), crops, torch.arange(12) % 10], 0)
    out["loss"].backward()
    torch.testing.assert_close(out["z"][0][:, 3:].norm(dim=1), torch.ones(12))
    assert all(p.grad is not None for p in method.projector.parameters())


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"blocks": None}, "method_kwargs.blocks: expected a list for latent=product"),
        ({"blocks": "plane"}, "method_kwargs.blocks: expected a list for latent=product"),
        ({"blocks": [{"latent": "plane"}]}, r"missing key method_kwargs\.blocks\.0\.dim"),
        ({"blocks": [PLANE, {"dim": 3}]}, r"missing key method_kwargs\.blocks\.1\.latent"),
        ({"blocks": ["plane"]}, r"missing key method_kwargs\.blocks\.0"),
        (
            {"blocks": [{**PLANE, "predictor": "mlp"}]},
            r"unknown key method_kwargs\.blocks\.0\.predictor",
        ),
        ({"blocks": [{**PLANE, "entrop": "kernel"}]}, "did you mean entropy"),
        ({"blocks": [{**PLANE, "entropy": "none"}]}, r"blocks\.0\.entropy: .*against collapse"),
        ({"blocks": [CONDITIONAL]}, r"blocks\.0\.predictor: .*density given a prediction"),
        ({"proj_output_dim": 9}, "expected 7, the sum"),
    ],
)
def test_blocks_that_cannot_be_are_one_line(others, message):
    with pytest.raises(ValueError, match=message) as caught:
        resolve({**SIZES, "latent": "product", "blocks": [PLANE, SPHERE], **others})
    assert "\n" not in str(caught.value)


def test_an_estimator_refuses_the_support_of_a_product():
    from solo_ldm.entropy import KernelEntropy

    with pytest.raises(ValueError, match="support: expected plane or sphere, got 'product'"):
        KernelEntropy("product")
