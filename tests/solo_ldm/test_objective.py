"""The objective: golden values, equivalences with published losses, numerical safety."""

from __future__ import annotations

import importlib
import itertools
import json
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from solo_ldm.entropy import KernelEntropy, NeighbourEntropy, VICRegEntropy
from solo_ldm.latents import LATENTS, GaussianPlane, VonMisesFisherSphere
from solo_ldm.objective import LDMObjective
from tests.support import DATA
from tests.support.methods.cells import ESTIMATORS, SUPPORTS, each_cell, objective
from tests.support.methods.tensors import DEGENERATE, HALF_AND_SINGLE, LargestTensor, degenerate
from tests.support.processes import forget, run_child

GOLDEN = DATA
SETTINGS = json.loads((GOLDEN / "ldm_losses.json").read_text())


@pytest.mark.parametrize("cell", SETTINGS)
def test_values_and_gradients_equal_the_reference(cell):
    expected = SETTINGS[cell]
    with np.load(GOLDEN / "ldm_losses.npz") as file:
        arrays = dict(file)
    method, kind = cell.split("/")
    count, estimator = kind.split("_")
    support = {"gaussprob": "plane", "sphereprob": "sphere"}[method]
    precision = expected.get("kernel_precision", expected.get("recognition_precision"))
    entropy = {
        "sample": KernelEntropy(support, precision),
        "knn": NeighbourEntropy(support),
    }[estimator]
    latent = LATENTS[support](expected["prediction_precision"])
    over = {"single": "marginal", "dual": "joint"}[count]
    # The reference's gradients are with respect to latents already on their support.
    views = [
        latent.project(torch.from_numpy(arrays[name])).requires_grad_() for name in ("z1", "z2")
    ]

    terms = LDMObjective(latent, entropy, over, expected["entropy_multiplier"] / 2)(*views)
    terms.loss.backward()

    assert terms.loss.item() == pytest.approx(expected["loss"], abs=1e-9)
    assert terms.entropy.item() == pytest.approx(expected["entropy"], abs=1e-9)
    for number, view in enumerate(views, start=1):
        gradient = torch.from_numpy(arrays[f"{cell}/grad{number}"])
        torch.testing.assert_close(view.grad, gradient, atol=1e-9, rtol=0)


def test_marginal_sphere_kernel_is_decoupled_simclr():
    """SimCLR's NT-Xent over one other view, its sum taken within each view: plus log p."""
    z1, z2 = (F.normalize(torch.randn(32, 8, dtype=torch.float64)) for _ in range(2))
    temperature = 0.2
    loss = LDMObjective(
        VonMisesFisherSphere(2 / temperature), KernelEntropy("sphere", 1 / temperature), "marginal"
    )(z1, z2).loss
    positives = (z1 * z2).sum(1) / temperature
    published = [torch.logsumexp(z @ z.T / temperature, dim=1) - positives for z in (z1, z2)]
    torch.testing.assert_close(loss, sum(published).mean(), atol=1e-12, rtol=0)


def test_marginal_plane_vicreg_is_vicregs_loss():
    z1, z2 = (torch.randn(32, 8, dtype=torch.float64) * 0.7 for _ in range(2))
    loss = LDMObjective(GaussianPlane(25.0), VICRegEntropy("plane"), "marginal")(z1, z2).loss
    published = 25.0 * F.mse_loss(z1, z2)
    for z in (z1, z2):
        covariance = torch.cov(z.T)
        published += 25.0 * F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()
        published += (covariance - covariance.diag().diag()).square().sum() / z.shape[1]
    torch.testing.assert_close(loss, published, atol=1e-10, rtol=0)


@each_cell
def test_loss_is_minus_log_prob_minus_weighted_entropy(support, name, over):
    cell = objective(support, name, over)
    weighted = LDMObjective(cell.latent, cell.entropy, over, weight=0.3)
    z1, z2 = (cell.latent.project(torch.randn(16, 5)) for _ in range(2))
    terms = weighted(z1, z2)
    torch.testing.assert_close(terms.loss, -terms.log_prob - 0.3 * terms.entropy)


@each_cell
def test_gradients_pass_gradcheck(support, name, over):
    cell = objective(support, name, over)
    h1, h2 = (torch.randn(7, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def loss(a, b):
        return cell(cell.latent.project(a), cell.latent.project(b)).loss

    if name == "neighbour":
        # The clip at a detached quantile is a deliberate departure from the true gradient.
        cell.entropy.clip_quantile = 1.0
    assert torch.autograd.gradcheck(loss, (h1, h2), eps=1e-6, atol=1e-5)


@each_cell
def test_degenerate_latents_give_finite_losses_and_gradients(support, name, over):
    # VICReg squares covariances: the fourth power of a latent must be a float32.
    huge = 1e8 if name == "vicreg" else 1e15
    cell = objective(support, name, over)
    for kind, dtype in itertools.product(DEGENERATE, HALF_AND_SINGLE):
        h1 = degenerate(kind, dtype, huge).requires_grad_()
        h2 = h1.detach().flip(0).clone().requires_grad_()
        terms = cell(cell.latent.project(h1), cell.latent.project(h2))
        terms.loss.backward()
        for value in (*terms, h1.grad, h2.grad):
            assert torch.isfinite(value).all(), (kind, dtype)


@each_cell
def test_the_order_of_samples_does_not_matter(support, name, over):
    cell = objective(support, name, over)
    z1, z2 = (cell.latent.project(torch.randn(24, 6, dtype=torch.float64)) for _ in range(2))
    order = torch.randperm(24)
    torch.testing.assert_close(cell(z1, z2).loss, cell(z1[order], z2[order]).loss)


@pytest.mark.parametrize("support", SUPPORTS)
def test_predictions_replace_the_first_view_in_both_directions(support):
    cell = objective(support, "kernel", "joint")
    z1, z2, p1, p2 = (cell.latent.project(torch.randn(8, 4)) for _ in range(4))
    expected = 0.5 * (cell.latent.log_prob(p1, z2) + cell.latent.log_prob(p2, z1)).mean()
    terms = cell(z1, z2, predictions=(p1, p2))
    torch.testing.assert_close(terms.log_prob, expected)
    torch.testing.assert_close(terms.entropy, cell(z1, z2).entropy)


def test_autocast_leaves_the_objective_in_float32():
    cell = objective("plane", "logdet", "joint")
    z1, z2 = torch.randn(32, 16), torch.randn(32, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = cell(z1, z2).loss
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, cell(z1, z2).loss)


def test_wrong_use_is_one_clear_line():
    plane, sphere = GaussianPlane(), KernelEntropy("sphere")
    cases = [
        (lambda: LDMObjective(plane, sphere), "lives on the plane"),
        (lambda: LDMObjective(plane, KernelEntropy(), "both"), "over: expected joint"),
        (lambda: LDMObjective(plane, KernelEntropy(), weight=-1), "weight: expected a number"),
        (lambda: GaussianPlane(0.0), "prediction_precision: expected a number above 0"),
        (lambda: KernelEntropy("torus"), "support: expected plane, sphere"),
        (lambda: NeighbourEntropy(num_neighbours=0), "num_neighbours"),
        (lambda: NeighbourEntropy(clip_quantile=0.0), "clip_quantile"),
        (lambda: NeighbourEntropy().marginal(torch.randn(3, 2)), "needs at least 4 samples"),
        (lambda: plane.log_prob(torch.randn(3, 2), torch.randn(3, 4)), "same samples"),
        (lambda: KernelEntropy().marginal(torch.randn(3)), "shape"),
    ]
    for case, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            case()
        assert "\n" not in str(caught.value)


def test_every_estimator_of_the_registry_has_a_row_in_the_test_table():
    from solo_ldm.entropy import ENTROPIES

    assert ENTROPIES == ESTIMATORS


def import_the_objective_without_others() -> None:
    others = ("lightning", "hydra", "omegaconf", "timm", "sklearn", "torchvision")
    forget("solo_ldm", *others)
    for name in others:
        sys.modules[name] = None  # its import fails
    for name in ("latents", "entropy", "objective"):
        importlib.import_module(f"solo_ldm.{name}")


def test_importing_the_objective_needs_torch_alone():
    ended = run_child(import_the_objective_without_others)
    assert ended.code == 0, ended.printed


@each_cell
def test_no_step_makes_a_tensor_of_pairs_times_dimensions(support, name, over):
    batch, dim = 48, 40
    cell = objective(support, name, over)
    leaves = [torch.randn(batch, dim, requires_grad=True) for _ in range(2)]
    with LargestTensor() as largest:
        cell(*(cell.latent.project(h) for h in leaves)).loss.backward()
    # Two views stacked along features, all pairs of the pooled samples, or a complex number for
    # each of these and slice.
    slices = getattr(cell.entropy, "num_slices", 0)
    allowed = max(2 * batch * dim, (2 * batch) ** 2, (2 * dim) ** 2, 2 * 2 * batch * slices)
    assert largest.elements <= allowed
