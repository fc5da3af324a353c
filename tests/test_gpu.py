"""What needs a CUDA device: `pytest -m gpu`."""

from __future__ import annotations

import math
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from predictive.filtering import Full, Gaussian, kalman_filter, kalman_smoother, log_likelihood
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data.augment.draws import draw_view
from solo_ldm.data.augment.photometric import Normalise, render
from solo_ldm.data.backends.base import TrainViews
from solo_ldm.data.backends.choice import dali_installed
from solo_ldm.data.config import DataConfig, parse_augmentations
from solo_ldm.data.datasets.registry import load_source
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.numerics import split_product
from tests.predictive.commands.test_predictive_run import rows as predictive_rows
from tests.predictive.commands.test_predictive_run import run as predictive_run
from tests.support.methods.cells import each_cell, objective
from tests.support.predictive.filtering_models import MASKS, close, data, random_model
from tests.support.toy import toy_config

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning"),
]


@each_cell
def test_the_gpu_gives_the_losses_and_gradients_of_the_cpu(support, name, over):
    cell = objective(support, name, over)
    latents = [torch.randn(128, 512), torch.randn(128, 512)]
    outcomes = []
    for device in ("cpu", "cuda"):
        leaves = [h.to(device).requires_grad_() for h in latents]
        loss = cell(*(cell.latent.project(h) for h in leaves)).loss
        loss.backward()
        outcomes.append([loss.detach().cpu(), *(h.grad.cpu() for h in leaves)])
    for cpu, gpu in zip(*outcomes, strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-5, atol=1e-6)


def test_split_products_have_the_digits_of_double_also_in_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    a, b = torch.randn(64, 3000).double(), torch.randn(3000, 48).double()
    largest = 3000 * a.abs().amax(dim=1)[:, None] * b.abs().amax(dim=0)
    assert ((split_product(a.cuda(), b.cuda()).cpu() - a @ b).abs() / largest).max() < 3e-9


@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=32-true",),
        ("accumulate_grad_batches=2", "statistics=whole", "precision=16-mixed"),
        ("precision=bf16-mixed", "performance.compile=true"),
        ("precision=16-mixed", "method_kwargs.entropy=logdet"),
        ("precision=16-mixed", "method_kwargs.entropy=neighbour"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["gaussprob", "sphereprob"])
def test_a_run_trains_on_the_gpu(tmp_path, name, overrides):
    outcome = pretrain(toy_config(tmp_path, "accelerator=gpu", *overrides, name=name))
    assert outcome is not None
    assert math.isfinite(outcome.results["final_terms"]["ldm_loss"])


# --- data ----------------------------------------------------------------------------------------

JITTER = {"prob": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
EVERY_OPERATOR = {
    "crop_size": 32,
    "num_crops": 2,
    "rrc": {"crop_min_scale": 0.2},
    "color_jitter": JITTER,
    "affine": {"prob": 0.3, "degrees": 20},
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.5},
    "solarization": {"prob": 0.2},
    "equalization": {"prob": 0.1},
    "horizontal_flip": {"prob": 0.5},
}
needs_dali = pytest.mark.skipif(not dali_installed(), reason="DALI is not installed")


def write_patches(folder: Path, count: int, side: int) -> Path:
    generator = np.random.default_rng(0)
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(count // 2):
            top = generator.integers(0, photograph.shape[0] - side)
            left = generator.integers(0, photograph.shape[1] - side)
            patch = Image.fromarray(photograph[top : top + side, left : left + side])
            patch.save(folder / name / f"{number:05}.jpg", quality=95)
    return folder


def batches(folder: Path, view: dict, device: str, batch_size: int = 64, threads: int = 4):
    from solo_ldm.data.backends.dali.loader import DaliBackend

    config = DataConfig(dataset="custom", train_path=str(folder), val_fraction=0.0)
    source = load_source(config, "train")
    assert source is not None
    sampler = EpochSampler(len(source), batch_size, seed=0)
    views = TrainViews(source, parse_augmentations([view]), seed=0)
    return DaliBackend(torch.device(device)).train_loader(views, sampler, threads)


def test_colours_on_the_gpu_are_those_on_the_cpu():
    view = parse_augmentations([{**EVERY_OPERATOR, "equalization": {"prob": 0}}])[0]
    pixels = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8)
    drawn = draw_view(view, 0, 0, 0, np.arange(64), [32] * 64, [32] * 64)
    normalise = Normalise((0.0,) * 3, (1 / 255,) * 3)
    cpu = render(pixels, drawn, normalise)
    gpu = render(pixels.cuda(), drawn, normalise).cpu()
    # A CPU takes the batch in chunks, whose blurs are as wide as the widest of each.
    assert (cpu - gpu).abs().quantile(0.99) < 1


@needs_dali
@pytest.mark.parametrize("without", [(), ("affine",)], ids=["whole images", "windows"])
def test_dali_on_the_gpu_gives_the_views_of_the_cpu(tmp_path, without):
    folder = write_patches(tmp_path / "patches", 128, 48)
    chance = {name: {"prob": 0} for name in ("equalization", *without)}
    view = {**EVERY_OPERATOR, **chance, "mean": [0] * 3, "std": [1 / 255] * 3}
    for cpu, gpu in zip(*(batches(folder, view, where) for where in ("cpu", "cuda")), strict=True):
        assert torch.equal(cpu[0], gpu[0])
        for one, other in zip(cpu[1], gpu[1], strict=True):
            assert other.is_cuda
            # nvJPEG and libjpeg differ by a few levels where chroma is enlarged.
            assert (one - other.cpu()).abs().mean() < 4


@needs_dali
def test_dali_on_the_gpu_feeds_20000_source_images_a_second(tmp_path):
    folder = write_patches(tmp_path / "patches", 16384, 32)
    view = {key: EVERY_OPERATOR[key] for key in EVERY_OPERATOR if key not in ("affine",)}
    view |= {"gaussian_blur": {"prob": 0}, "equalization": {"prob": 0}}
    loader = batches(folder, view, "cuda", batch_size=512, threads=12)
    list(loader)  # headers are read once
    torch.cuda.synchronize()
    start = time.perf_counter()
    count = sum(len(indexes) for indexes, _, _ in loader)
    torch.cuda.synchronize()
    assert count / (time.perf_counter() - start) > 20_000


@needs_dali
def test_a_run_reads_its_files_by_dali_on_the_gpu(tmp_path):
    folder = write_patches(tmp_path / "patches", 256, 32)
    overrides = ("data.dataset=custom", f"data.train_path={folder}", "data.fraction=-1")
    outcome = pretrain(toy_config(tmp_path / "runs", "accelerator=gpu", *overrides))
    assert outcome is not None
    assert outcome.results["data_backend"].endswith("(gpu)")


# --- predictive methods --------------------------------------------------------------------------


@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("kind", ["per-sample", "full"])
def test_filtering_on_the_gpu_is_that_of_the_cpu(kind, masked):
    model, (z, mask) = random_model(kind), data(masked)

    def moved(value):
        return Full(value.covariance.cuda()) if isinstance(value, Full) else value.cuda()

    theirs = replace(model, **{f.name: moved(getattr(model, f.name)) for f in fields(model)})
    there = (theirs, z.cuda(), None if mask is None else mask.cuda())
    close(log_likelihood(*there).cpu(), log_likelihood(model, z, mask))
    for infer in (kalman_filter, kalman_smoother):
        for name, expected in vars(infer(model, z, mask)).items():
            actual = getattr(infer(*there), name)
            if isinstance(expected, Gaussian):
                close(actual.mean.cpu(), expected.mean)
                close(actual.covariance.cpu(), expected.covariance)
            elif isinstance(expected, torch.Tensor):
                close(actual.cpu(), expected)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("figure8", ()),
        ("figure8", ("predictor.observation_noise=input",)),
        ("figure8", ("objective.entropy=logdet", "precision=bf16-mixed")),
        ("nonlinear_system", ()),
        ("nonlinear_system", ("objective.entropy=contrastive", "predictor.variance=state")),
    ],
    ids=str,
)
def test_a_predictive_run_on_the_gpu_decodes_as_well_as_on_the_cpu(tmp_path, name, overrides):
    longer = ("data.num_train=128", "data.num_steps=20", "max_epochs=4")
    scores = {}
    for where in ("cpu", "gpu"):
        given = (*longer, *overrides, f"accelerator={where}")
        outcome = predictive_run(tmp_path / where, *given, name=name)
        final = outcome.results["final_terms"]
        assert all(math.isfinite(value) for value in final.values())
        scores[where] = outcome.results["results"]["decoding"]["position"]
    for cpu, gpu in zip(scores["cpu"], scores["gpu"], strict=True):
        assert gpu["features"] == cpu["features"]
        assert gpu["r2"] == pytest.approx(cpu["r2"], abs=0.05)


def test_comparing_gradients_on_the_gpu_does_not_change_the_training(tmp_path):
    # More than 512 latents a step, so that the comparison draws random numbers of its own.
    large = ("data.num_train=64", "data.num_steps=20", "optimizer.batch_size=32", "max_epochs=2")
    given = (*large, "objective.entropy=neighbour", "objective.num_samples=40", "accelerator=gpu")
    first = []
    for every in (0, 1):
        compared = f"evaluation.compare_gradients_every={every}"
        outcome = predictive_run(tmp_path / str(every), *given, compared)
        first.append(predictive_rows(outcome.folder)[0])
    for key, value in first[0].items():
        # Sums on the GPU are not always taken in the same order.
        assert float(first[1][key]) == pytest.approx(float(value), rel=1e-3)
