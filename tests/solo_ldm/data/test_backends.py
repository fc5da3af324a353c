"""DALI and torchvision: the same views of the same images in the same order."""

import sys

import numpy as np
import pytest
import torch

from solo_ldm.data import DataConfig
from solo_ldm.data.backends import choice as backends_module
from solo_ldm.data.backends.base import TrainViews
from solo_ldm.data.backends.choice import choose_backend, dali_installed
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.data.sources.images import ArrayImages
from solo_ldm.data.sources.unreadable import Unreadable
from tests.support.data.images import (
    ONE_VIEW,
    VIEWS,
    close,
    epoch_of,
    equal,
    module,
    needs_dali,
    odd_images,
)


@needs_dali
@pytest.mark.parametrize("views", [VIEWS, ONE_VIEW, VIEWS[:2]], ids=["all", "one", "crops"])
def test_both_backends_give_the_same_batches_of_files(photographs, views):
    one, other = (
        epoch_of(module(form, views, train_path=str(photographs)))
        for form in ("dali", "torchvision")
    )
    assert len(one) == len(other) == 1
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[2], b[2])
        for ours, theirs in zip(a[1], b[1], strict=True):
            assert ours.shape == theirs.shape
            assert ours.is_contiguous()
            assert close(ours, theirs)


@needs_dali
def test_both_backends_give_the_same_batches_of_arrays():
    one, other = (
        epoch_of(module(form, dataset="digits", batch_size=64, fraction=0.2))
        for form in ("dali", "torchvision")
    )
    assert len(one) == len(other) == 4
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[0], b[0])
        # Strokes of full contrast, enlarged: the cubic kernel overshoots everywhere.
        assert all(close(x, y, mean=2, most=12) for x, y in zip(a[1], b[1], strict=True))


@needs_dali
@pytest.mark.parametrize("size", [16, 24, 200])
def test_both_backends_give_the_same_evaluation_images(photographs, size):
    views = [{"crop_size": size, "num_crops": 1}]
    sets = []
    for form in ("dali", "torchvision"):
        data = module(form, views, train_path=str(photographs), batch_size=7)
        batches = [*data.evaluation_dataloader("train"), *data.val_dataloader()]
        sets.append([torch.cat(parts) for parts in zip(*batches, strict=True)])
    (ours, labels), (theirs, expected) = sets
    assert torch.equal(labels, expected)
    assert ours.shape == (40, 3, size, size)
    assert close(ours, theirs)


@needs_dali
def test_augmented_images_have_one_distribution_whatever_the_backend(photographs):
    # Other seeds, so other draws: the distributions are compared, not the images.
    def statistics(form, seed):
        folder = {"train_path": str(photographs), "val_fraction": 0, "num_workers": 0}
        data = module(form, VIEWS[:1], seed=seed, **folder)
        loader = data.train_dataloader()
        views = []
        for epoch in range(40):
            loader.sampler.set_epoch(epoch)
            views += [view for _, (view, *_), _ in loader]
        images = torch.cat(views)
        shares = torch.histc(images, 8, 0, 255) / images.numel()
        return images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3)), shares, len(images)

    mean, std, shares, count = statistics("dali", 0)
    mean_too, std_too, shares_too, _ = statistics("torchvision", 100)
    # Four standard errors, with an image's mean as one observation.
    assert ((mean - mean_too).abs() < 4 * std * (2 / count) ** 0.5).all()
    assert ((std - std_too).abs() < 4 * std * (2 / count) ** 0.5).all()
    assert ((shares - shares_too).abs() < 0.02).all()


@needs_dali
def test_dali_batches_are_a_function_of_seed_and_epoch(photographs):
    data = module("dali", train_path=str(photographs), val_fraction=0)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(0)
    first = list(loader)
    loader.sampler.set_epoch(1)
    second = list(loader)
    assert len(first) == len(loader) == 2
    assert not equal(first, second)
    # A new process, one thread: what a resumed run sees.
    resumed = module("dali", train_path=str(photographs), val_fraction=0, num_workers=1)
    assert equal(second, epoch_of(resumed, 1))
    assert not equal(
        first, epoch_of(module("dali", seed=1, train_path=str(photographs), val_fraction=0))
    )


@needs_dali
def test_an_epoch_left_early_leaves_nothing_to_the_next(photographs):
    loader = module("dali", batch_size=4, train_path=str(photographs)).train_dataloader()
    whole = list(loader)
    begun = iter(loader)
    next(begun)
    other = iter(loader)  # while the first is still open
    assert equal([next(other)], whole[:1])
    begun.close()
    other.close()
    assert equal(list(loader), whole)


@needs_dali
def test_two_dali_processes_see_disjoint_shards_that_cover_the_set(photographs):
    from solo_ldm.data.backends.dali.loader import DaliBackend

    def epoch(*sampler, **ranks):
        views = TrainViews(source, data.views, seed=0)
        backend = DaliBackend(torch.device("cpu"))
        return list(backend.train_loader(views, EpochSampler(*sampler, seed=0, **ranks), 1))

    data = module("dali", batch_size=8, train_path=str(photographs), val_fraction=0)
    source = data.source("train")
    assert source is not None
    one = epoch(40, 8)
    two = [epoch(40, 4, num_replicas=2, rank=rank) for rank in (0, 1)]
    assert len(two[0]) == len(two[1]) == len(one) == 5
    seen = torch.cat([indexes for rank in two for indexes, _, _ in rank])
    assert sorted(seen.tolist()) == list(range(40))
    for step, (indexes, views, _) in enumerate(one):
        assert torch.equal(indexes, torch.cat([rank[step][0] for rank in two]))
        for number, view in enumerate(views):
            shards = torch.cat([rank[step][1][number] for rank in two])
            # A blur's kernel is as long as the widest blur of its batch needs.
            assert (view - shards).abs().max() < 1.5


@needs_dali
def test_cmyk_palette_16_bit_alpha_and_turned_images_look_the_same_in_both(tmp_path):
    odd_images(tmp_path / "odd")
    views = [{"crop_size": 32, "num_crops": 1}]
    one, other = (
        epoch_of(module(form, views, 8, train_path=str(tmp_path / "odd")))[0]
        for form in ("dali", "torchvision")
    )
    assert torch.equal(one[0], other[0])
    for row, index in enumerate(one[0].tolist()):
        assert close(one[1][0][row], other[1][0][row]), index


def test_auto_takes_torchvision_where_dali_is_missing(photographs, monkeypatch):
    monkeypatch.setattr(backends_module, "dali_installed", lambda: False)
    assert module("auto", train_path=str(photographs)).backend.startswith("torchvision ")
    with pytest.raises(ValueError, match=r"not installed; pip install 'solo-ldm\[dali\]'"):
        _ = module("dali", train_path=str(photographs)).backend


def test_a_machine_without_any_package_of_nvidias_has_no_dali(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia", None)  # what an import of it finds
    monkeypatch.delitem(sys.modules, "nvidia.dali", raising=False)
    assert dali_installed.__wrapped__() is False


@needs_dali
def test_auto_takes_dali_where_it_fits_on_the_device_of_the_model(photographs, tmp_path):
    for values in ({"train_path": str(photographs)}, {"dataset": "digits"}):
        data = module("auto", **values)
        assert data.backend.startswith("dali ")
        assert data.backend.endswith("(cpu)")
    source = data.source("train")
    assert source is not None
    on_gpu = choose_backend(DataConfig(dataset="digits"), source, torch.device("cuda", 1))
    assert (on_gpu.library, on_gpu.device) == ("dali", torch.device("cuda", 1))
    assert on_gpu.name.endswith("(gpu)")
    # Mostly images that Pillow has to decode: DALI would only be in the way.
    odd_images(tmp_path / "odd")
    assert module("auto", train_path=str(tmp_path / "odd")).backend.startswith("torchvision ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_for_the_data_where_there_is_none_is_one_clear_line(photographs):
    with pytest.raises(ValueError, match=r"data\.device: gpu is asked for"):
        _ = module("dali", train_path=str(photographs), device="gpu").backend


@needs_dali
def test_a_pipeline_is_fed_the_widths_and_heights_of_arrays():
    from solo_ldm.data.backends.dali.sources import Feed

    images = ArrayImages(np.zeros((4, 6, 9, 3), np.uint8), "a", [0] * 4, ["x"], (0,) * 3, (1,) * 3)
    widths, heights = Feed(images, Unreadable(images)).sizes(np.array([2, 0]))
    assert (widths.tolist(), heights.tolist()) == ([9, 9], [6, 6])
    assert images.load(0).size == (9, 6)
