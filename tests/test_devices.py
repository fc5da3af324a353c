"""Forward passes on a GPU that is not there: every tensor is on the device of its inputs."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from predictive.filtering import Full, kalman_filter, kalman_smoother, log_likelihood
from solo_ldm import numerics
from solo_ldm.entropy import ENTROPIES, KernelEntropy, LogDetEntropy
from solo_ldm.methods import find_method
from solo_ldm.methods.lightly.recipes import RECIPES
from tests.support.devices import PretendedGPU, moved, on_gpu, there
from tests.support.methods import cross, lightly, masked
from tests.support.methods.cells import ALL_CELLS, objective
from tests.support.methods.configurations import method_config
from tests.support.predictive.filtering_models import data, random_model
from tests.support.predictive.predictor_kinds import ALL, found, predictor, sequences
from tests.support.predictive.toy import FEATURES, tiny_method

# Recurrent layers look whether their weights lie behind each other.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer:UserWarning")

# What lightly's own losses make of these cannot be followed: shapes that depend on values (pairs
# selected by a mask, sizes of a memory bank, checks), and one asks the driver.
VALUES_MATTER = {"simclr", "dcl", "dclw", "macl", "directclr", "moco", "nnclr", "vicreg", "frossl"}
ASKS_THE_DRIVER = {"wmse"}

PRESETS = (
    *("gaussprob", "sphereprob", "ldm", "simclr", "vicreg", "byol", "simsiam", "cpc", "jepa"),
    *("barlow_twins", "wmse", "lejepa", "directpred", "gje", "gje_entropy", "gje_moving_average"),
    *("categorical", "categorical_approximate", "categorical_information", "emp_ssl"),
)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a card is fast in float64 is asked of its driver."""
    monkeypatch.setattr(numerics, "fast_double", lambda device: True)


def run_cell(support: Any, name: str, over: str, **settings: Any) -> tuple[Tensor, ...]:
    cell = objective(support, name, over)
    for key, value in settings.items():
        setattr(cell.entropy, key, value)
    with PretendedGPU():
        views = [torch.randn(32, 8, device="cuda") for _ in range(2)]
        return moved(cell)(*(cell.latent.project(h) for h in views))


def step(method: Any, views: int = 2) -> Tensor:
    """Return the loss of a step of training."""
    method.log_dict = method.log = lambda *args, **kwargs: None  # there is no trainer to log to
    with PretendedGPU():
        crops = [torch.randn(32, 3, 16, 16, device="cuda") for _ in range(views)]
        labels = torch.arange(32, device="cuda") % 10
        return moved(method).training_step([labels, crops, labels], 0)["loss"]


@pytest.mark.parametrize("fast_double", [True, False])
def test_every_cell_stays_on_the_device_of_its_latents(fast_double, monkeypatch):
    monkeypatch.setattr(numerics, "fast_double", lambda device: fast_double)
    for cell in ALL_CELLS:
        assert all(map(on_gpu, run_cell(*cell))), cell


def test_every_preset_of_the_grid_stays_on_the_device_of_its_images(tmp_path):
    for name in PRESETS:
        cfg = method_config(tmp_path, name)
        assert on_gpu(step(find_method(cfg.method)(cfg))), name


def test_prototypes_and_many_views_stay_on_the_device_of_their_images(tmp_path):
    for latent in ("prototypes", "prototypes_plane", "mean_direction", "plane", "whitened"):
        cfg = method_config(tmp_path, "ldm", latent=latent)
        cfg.data.num_large_crops = 3
        assert on_gpu(step(find_method("ldm")(cfg), views=3)), latent
    assert all(map(on_gpu, run_cell("sphere", "kernel", "marginal", similar_share=0.5)))


def test_soft_equivariance_stays_on_the_device_of_the_images(tmp_path):
    cfg = method_config(tmp_path, "ldm", equivariance_weight=1.0)
    assert on_gpu(step(find_method("ldm")(cfg)))


def test_every_baseline_stays_on_the_device_of_its_images():
    for name in RECIPES:
        try:
            assert on_gpu(step(lightly.build(name))), name
        except (DataDependentOutputException, DynamicOutputShapeException):
            if name not in VALUES_MATTER:
                raise
        except RuntimeError as error:
            if name not in ASKS_THE_DRIVER or "NVIDIA driver" not in str(error):
                raise


@pytest.mark.parametrize("name", masked.TINY)
def test_the_masked_method_stays_on_the_device_of_its_images(name):
    method = masked.build(name=name)
    _, kept, targets = masked.images_and_masks(method, 32)
    method.draw_masks = lambda indexes, step: (there(kept), there(targets))  # drawn by numpy
    assert on_gpu(step(method, views=1))


def test_image_and_text_stay_on_the_device_of_the_images():
    for preset in ("clip", "siglip"):
        method = cross.build(preset=preset)
        tokens = method.draw_captions(torch.arange(32) % 24)
        method.draw_captions = lambda indexes, tokens=tokens: there(tokens)  # drawn by numpy
        assert on_gpu(step(method)), preset


def test_every_predictor_stays_on_the_device_of_its_latents():
    for kind in ALL:
        made, given = predictor(kind), sequences()
        with PretendedGPU():
            forecast = moved(made)(*map(there, given))
            assert all(map(on_gpu, found(forecast))), kind


def test_encoder_and_predictor_together_stay_on_the_device_of_the_recording():
    for name in ("figure8", "nonlinear_system"):
        method = tiny_method(name=name)
        with PretendedGPU():
            inputs = torch.randn(4, 10, FEATURES, device="cuda")
            observed = torch.ones(4, 10, dtype=torch.bool, device="cuda")
            variables = moved(method)(inputs, observed).variables()
            assert all(map(on_gpu, variables.values())), name


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_filter_and_smoother_stay_on_the_device_of_the_observations(method):
    for kind, masked_by in (
        ("constant", "nothing"),
        ("per-sample", "dimensions"),
        ("full", "steps"),
    ):
        model, (z, mask) = random_model(kind), data(masked_by)
        with PretendedGPU():
            parameters = {}
            for one in fields(model):
                value = getattr(model, one.name)
                full = isinstance(value, Full)
                parameters[one.name] = Full(there(value.covariance)) if full else there(value)
            given = replace(model, **parameters), there(z), None if mask is None else there(mask)
            assert on_gpu(log_likelihood(*given, method=method))
            for infer in (kalman_filter, kalman_smoother):
                assert on_gpu(infer(*given, method=method).states.mean)


def test_a_tensor_on_another_device_is_found(monkeypatch):
    class Made(LogDetEntropy):
        def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
            return super().estimate(z + torch.ones(z.shape[1]), num_views)

    class Kept(KernelEntropy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.not_a_buffer = torch.ones(8)

        def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
            return super().estimate(z * self.not_a_buffer, num_views)

    from tests.support.methods import cells

    for name, kind in {"logdet": Made, "kernel": Kept}.items():
        assert issubclass(kind, ENTROPIES[name])
        monkeypatch.setitem(cells.ESTIMATORS, name, kind)
        with pytest.raises(RuntimeError, match="device"):
            run_cell("plane", name, "marginal")


def test_no_operation_goes_through_python_afterwards():
    with PretendedGPU():
        torch.randn(2, device="cuda")
    # Other kernels then: slower ones, and of recurrent layers others with gradients than without.
    assert not torch._C._dispatch_tls_is_dispatch_key_included("PythonDispatcher")
