"""Categories as cells of the grid: presets, blocks of a product, settings that cannot work."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solo_ldm.evaluation.spectrum import diagnose, health
from solo_ldm.latents import CategoricalSimplex, FittedCategories, ProductLatent
from solo_ldm.methods.ldm.body import LDM
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective
from tests.support.toy import plain, toy_config

SIZES = {"proj_hidden_dim": 8, "proj_output_dim": 5}
EXACT = {**SIZES, "latent": "categorical", "entropy": "plug_in", "over": "joint"}
APPROXIMATE = {**EXACT, "over": "pooled", "entropy_weight": 2.0}
INFORMATION = {**EXACT, "latent": "categorical_fitted", "over": "marginal"}


def one_hot(places: list[int], categories: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(places), categories).double()


def pair(samples: int = 12, categories: int = 5, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Return probabilities of two views."""
    h = scale * torch.randn(2, samples, categories, dtype=torch.float64)
    z1, z2 = h.softmax(dim=2)
    return z1, z2


def objective(**kwargs) -> LDMObjective:
    built = resolve(kwargs).build_objective()
    assert isinstance(built, LDMObjective)
    return built


def toy_config_of(name: str):
    from pathlib import Path

    return toy_config(Path("unused"), name=name)


def test_one_category_for_all_is_a_collapse_and_ten_for_all_are_none():
    together, apart = one_hot([3] * 50, 10).float(), one_hot(list(range(10)) * 5, 10).float()
    uncertain = torch.full((50, 10), 0.1)
    description = LDM.describe(toy_config_of("categorical"))
    assert "Complete collapse" in (diagnose(health(together), sphere=description.on_sphere) or "")
    assert "Complete collapse" in (diagnose(health(uncertain), sphere=description.on_sphere) or "")
    assert diagnose(health(apart), sphere=description.on_sphere) is None
    assert health(apart).effective_rank == pytest.approx(9.0)
    many = one_hot(list(range(1000)) * 2, 1000).float()
    assert diagnose(health(many), sphere=description.on_sphere) is None


def test_presets_are_the_three_objectives():
    expected = {
        "categorical": ("categorical", "joint", 1.0),
        "categorical_approximate": ("categorical", "pooled", 2.0),
        "categorical_information": ("categorical_fitted", "marginal", 1.5),
    }
    for name, axes in expected.items():
        cfg = toy_config_of(name)
        settings = LDM.settings(cfg)
        assert (settings.latent, settings.over, settings.entropy_weight) == axes
        assert plain(cfg)["data"]["pair_match"] == 0.99


def test_a_block_of_a_product_can_be_categories():
    blocks = [
        {"latent": "plane", "dim": 3, "entropy": "logdet"},
        {"latent": "categorical", "dim": 4, "entropy": "plug_in", "match_probability": 0.9},
    ]
    product = resolve({"proj_hidden_dim": 8, "latent": "product", "blocks": blocks})
    built = product.build_objective()
    assert isinstance(built.latent, ProductLatent)
    z1, z2 = (built.latent.project(torch.randn(12, 7, dtype=torch.float64)) for _ in range(2))
    torch.testing.assert_close(z1[:, 3:].sum(dim=1), torch.ones(12, dtype=torch.float64))
    plane = {**SIZES, "proj_output_dim": 3, "latent": "plane", "entropy": "logdet"}
    categories = {**EXACT, "proj_output_dim": 4, "match_probability": 0.9}
    expected = objective(**plane)(z1[:, :3], z2[:, :3]).loss
    expected = expected + objective(**categories)(z1[:, 3:], z2[:, 3:]).loss
    torch.testing.assert_close(built(z1, z2).loss, expected)
    assert set(built.latent.schedule(7)) == {"temperature"}
    assert built.latent.columns("simplex") == slice(3, 7)
    assert built.latent.columns("sphere") is None


def test_probabilities_are_sharper_at_a_lower_softmax_temperature():
    h = torch.randn(4, 5, dtype=torch.float64)
    for kind in (CategoricalSimplex, FittedCategories):
        z = kind(softmax_temperature=0.5).project(h)
        torch.testing.assert_close(z, (2.0 * h).softmax(dim=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entropy": "kernel"}, "expected one of plug_in, none for latent=categorical"),
        ({"latent": "plane"}, "one of kernel, .*for latent=plane .on the plane., got plug_in"),
        ({"latent": "categorical_fitted"}, "expected marginal or pooled, got joint, which cancels"),
        ({"match_probability": 1.0}, "match_probability: expected a number above 0 and below 1"),
        ({"first_match_probability": 0.0}, "first_match_probability: expected a number above 0"),
        ({"temperature_decay": -1.0}, "temperature_decay: expected a number from 0"),
        ({"softmax_temperature": 0.0}, "softmax_temperature: expected a number above 0"),
        ({"prediction_precision": 5.0}, "latent=categorical has none"),
    ],
)
def test_wrong_settings_are_one_line(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        resolve({**EXACT, **change}).build_objective()
    assert "\n" not in str(caught.value)
