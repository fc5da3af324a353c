"""The authors' names of losses give the authors' losses, written here from their definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from solo_ldm.methods.ldm.body import SphereProb
from solo_ldm.methods.ldm.method_kwargs import resolve
from tests.support import ROOT
from tests.support.methods.configurations import SIZES, method_config

RIDGE = 1e-6


def expansion(z: Tensor) -> Tensor:
    """Σ log v_d − ½ Σ_{a≠b} corr_ab², over D, entry by entry."""
    count, dim = z.shape
    centred = z - z.sum(dim=0) / count
    covariance = [
        [(centred[:, a] * centred[:, b]).sum() / (count - 1) for b in range(dim)]
        for a in range(dim)
    ]
    variances = [covariance[d][d] + RIDGE for d in range(dim)]
    total = torch.stack(variances).log().sum()
    for a in range(dim):
        for b in range(dim):
            if a != b:
                total = total - 0.5 * covariance[a][b] ** 2 / (variances[a] * variances[b])
    return total / dim


def alignment(latent: str, z1: Tensor, z2: Tensor, precision: float) -> Tensor:
    if latent == "sphere":
        return precision * (z1 * z2).sum(dim=1).mean()
    return -precision * (z1 - z2).square().mean(dim=1).mean()


def views(latent: str) -> list[Tensor]:
    """Correlated views; each has mean zero, as the authors take it from each before they pool."""
    first = torch.randn(12, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64)
    second = first + 0.5 * torch.randn(12, 5, dtype=torch.float64)
    both = [torch.cat([one, -one]) for one in (first, second)]
    if latent == "sphere":
        both = [torch.nn.functional.normalize(one) for one in both]
    return [one.requires_grad_() for one in both]


@pytest.mark.parametrize("latent", ["plane", "sphere"])
@pytest.mark.parametrize("kind", ["single_gauss", "dual_gauss"])
@pytest.mark.parametrize("multiplier", [None, 2, 0.7])
def test_the_gauss_types_are_the_authors_losses_with_their_expansion_corrected(
    latent, kind, multiplier
):
    """loss = −log p − multiplier · mean of the views' entropies, or − that of both pooled."""
    loss = {"type": kind, **({} if multiplier is None else {"entropy_multiplier": multiplier})}
    settings = resolve({**SIZES, "loss": loss, "prediction_precision": 2.5}, latent)
    z1, z2 = views(latent)
    if kind == "single_gauss":
        entropy = (2 if multiplier is None else multiplier) * (expansion(z1) + expansion(z2)) / 2
    else:
        entropy = expansion(torch.cat([z1, z2]))
    theirs = -alignment(latent, z1, z2, 2.5) - entropy
    ours = settings.build_objective()(z1, z2).loss
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    for one, other in zip(*(torch.autograd.grad(x, (z1, z2)) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0)


def test_a_weight_beside_an_authors_name_counts_in_the_authors_units():
    """As in the packaged configurations, which hold one for every cell."""
    for kind, factor in (("single_gauss", 2.0), ("dual_gauss", 2.0), ("single_knn", 1.0)):
        given = {**SIZES, "entropy_weight": 1.5, "loss": {"type": kind}}
        assert resolve(given, "sphere").entropy_weight == 1.5 * factor
    with pytest.raises(ValueError, match=r"loss.entropy_multiplier: expected a number from 0"):
        resolve({**SIZES, "loss": {"type": "single_knn", "entropy_multiplier": "two"}}, "sphere")


YAMLS = sorted((ROOT / "scripts" / "pretrain").glob("*/*logdet*.yaml"))


def test_the_papers_log_determinant_cells_weigh_the_whole_log_determinant():
    """− log det / D of each view, or of both stacked over their 2D features."""
    assert len(YAMLS) == 8
    for path in YAMLS:
        latent = "sphere" if path.stem.startswith("sphere") else "plane"
        settings = resolve(method_kwargs(path), latent)
        z1, z2 = views(latent)
        log_det = {
            "marginal": [torch.cov(z.T) for z in (z1, z2)],
            "joint": [torch.cov(torch.cat([z1, z2], dim=1).T)],
        }[settings.over]
        entropy = sum(
            torch.logdet(one + RIDGE * torch.eye(len(one), dtype=one.dtype)) / len(one)
            for one in log_det
        )
        loss, log_prob, _ = settings.build_objective()(z1, z2)
        torch.testing.assert_close(loss + log_prob, -entropy, atol=1e-7, rtol=0)


def test_other_cells_of_the_paper_and_the_packaged_ones_weigh_their_entropy_once():
    others = {*(ROOT / "scripts" / "pretrain").glob("*/*prob*.yaml")} - {*YAMLS}
    assert len(others) == 16
    for path in others:
        assert "entropy_weight" not in method_kwargs(path)
    assert method_kwargs(ROOT / "solo_ldm" / "configs" / "ldm.yaml")["entropy_weight"] == 1.0


def method_kwargs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["method_kwargs"]


def test_a_linear_predictor_has_a_bias_and_predicts_each_view_from_the_other(tmp_path):
    """The authors' has none, and predicts the second view from the first alone."""
    method: Any = SphereProb(method_config(tmp_path, "sphereprob", predictor="linear"))
    unit = torch.nn.functional.normalize
    z1, z2 = (unit(torch.randn(16, 16)) for _ in range(2))
    weight, bias = method.predictor.weight, method.predictor.bias
    forth, back = unit(z1 @ weight.T + bias), unit(z2 @ weight.T + bias)
    expected = 5.0 * ((forth * z2).sum(dim=1) + (back * z1).sum(dim=1)).mean() / 2
    torch.testing.assert_close(method.match([z1, z2]).log_prob, expected)
    # The entropy is that of the latents, not of the predictions.
    alone = method.objective(z1, z2).entropy
    torch.testing.assert_close(method.match([z1, z2]).entropy, alone)
