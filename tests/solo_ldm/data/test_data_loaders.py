import gc
import os
import pickle

import lightning.pytorch as L
import numpy as np
import pytest
import torch
import yaml

from solo_ldm.data import DataConfig
from solo_ldm.data.lightning import LightningData
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sampler import EpochSampler
from tests.support.data.images import equal, needs_dali

VIEWS = yaml.safe_load(
    """
- {rrc: {enabled: True, crop_min_scale: 0.3, crop_max_scale: 1.0}, crop_size: 12, num_crops: 2,
   color_jitter: {prob: 0.5, brightness: 0.4, hue: 0.1}, horizontal_flip: {prob: 0.5}}
- {crop_size: 8, num_crops: 1, affine: {prob: 1.0, degrees: 20}}
"""
)


def module(batch_size=64, seed=0, **values):
    values = {
        **{"dataset": "digits", "format": "torchvision", "num_workers": 0, "fraction": 0.2},
        **values,
    }
    return ImageDataModule(DataConfig(**values), VIEWS, batch_size, seed)


def epoch_of(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_batches_are_indexes_views_and_targets():
    data = module()
    indexes, views, targets = next(iter(data.train_dataloader()))
    assert indexes.shape == targets.shape == (64,)
    assert [tuple(view.shape) for view in views] == [(64, 3, 12, 12)] * 2 + [(64, 3, 8, 8)]
    assert all(view.dtype == torch.float32 and view.is_contiguous() for view in views)
    source = data.source("train")
    assert source is not None
    assert np.array_equal(source.labels[indexes.numpy()], targets.numpy())
    assert not torch.equal(views[0], views[1])


def test_the_module_describes_its_data():
    data = module(fraction=-1)
    assert data.classes == tuple("0123456789")
    assert (data.num_classes, data.num_train_images, data.num_val_images) == (10, 1438, 359)
    assert (data.num_large_crops, data.num_small_crops, data.image_size) == (2, 1, 12)
    assert data.backend.startswith("torchvision ")
    assert data.backend.endswith(" (cpu)")
    assert data.mean == pytest.approx((0.3053,) * 3)


def test_evaluation_images_are_normalised():
    images, _ = next(iter(module(batch_size=500, fraction=-1).evaluation_dataloader("train")))
    assert abs(images.mean()) < 0.1
    assert abs(images.std() - 1) < 0.1


def test_batches_do_not_depend_on_the_number_of_workers():
    alone, two = module().train_dataloader(), module(num_workers=2).train_dataloader()
    for epoch in (0, 1):
        assert equal(epoch_of(alone, epoch), epoch_of(two, epoch))


def test_loading_leaves_the_global_generators_alone():
    loader = module().train_dataloader()
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(loader)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_epoch_changes_the_views_and_resume_repeats_them():
    loader = module().train_dataloader()
    first, second = epoch_of(loader, 0), epoch_of(loader, 1)
    assert not equal(first, second)
    assert equal(second, epoch_of(module().train_dataloader(), 1))


def test_an_image_has_the_same_views_in_one_epoch_and_others_in_the_next():
    dataset = module().train_dataloader().dataset
    indexes = range(20)
    first, second = (dataset.__getitems__([(epoch, i) for i in indexes])[1][0] for epoch in (0, 1))
    same = [torch.equal(here, there) for here, there in zip(first, second, strict=True)]
    assert sum(same) <= 1  # a small image has few crops, so two may coincide
    (index,), (view, *_), _ = dataset.__getitems__([(1, 7)])
    assert index == 7
    assert torch.equal(view[0], second[7])


def test_the_seed_changes_order_and_views():
    zero, one = (module(seed=seed).train_dataloader() for seed in (0, 1))
    assert list(zero.sampler) != list(one.sampler)
    keys = [(0, index) for index in range(20)]
    assert not torch.equal(
        zero.dataset.__getitems__(keys)[1][0], one.dataset.__getitems__(keys)[1][0]
    )


def test_two_ranks_see_the_batches_of_one():
    one = EpochSampler(103, batch_size=8, seed=3)
    ranks = [EpochSampler(103, 4, 3, num_replicas=2, rank=rank) for rank in (0, 1)]
    for sampler in (one, *ranks):
        sampler.set_epoch(2)
    keys, first, second = list(one), list(ranks[0]), list(ranks[1])
    assert len(keys) == len(one) == 96
    assert len(first) == len(second) == len(ranks[0]) == 48
    for step in range(12):
        shard = slice(4 * step, 4 * step + 4)
        assert keys[8 * step : 8 * step + 8] == first[shard] + second[shard]


def test_an_epoch_is_a_permutation_without_its_last_part_batch():
    sampler = EpochSampler(100, batch_size=10, seed=0)
    assert sorted(sampler) == [(0, index) for index in range(100)]
    assert len(list(EpochSampler(105, batch_size=10, seed=0))) == 100


def test_fewer_images_than_a_batch_say_what_to_lower():
    with pytest.raises(ValueError, match=r"288 images .* lower optimizer\.batch_size to 288"):
        module(batch_size=300).train_dataloader()


def test_evaluation_sees_every_image_once_in_order():
    data = module(batch_size=100)
    targets = torch.cat([targets for _, targets in data.evaluation_dataloader("train")])
    source = data.source("train")
    assert source is not None
    assert np.array_equal(targets.numpy(), source.labels)
    images = torch.cat([images for images, _ in data.val_dataloader()])
    assert images.shape == (data.num_val_images, 3, 12, 12)


def test_unlabelled_images_train_but_are_not_evaluated():
    data = module(no_labels=True)
    _, _, targets = next(iter(data.train_dataloader()))
    assert targets.unique().tolist() == [-1]
    assert data.num_classes == 0
    assert data.val_dataloader() == []
    with pytest.raises(ValueError, match="no labelled images"):
        data.evaluation_dataloader("train")


def test_datasets_reach_spawned_workers():
    data = module()
    for loader in (data.train_dataloader(), data.val_dataloader()):
        copy = pickle.loads(pickle.dumps(loader.dataset))
        assert len(copy) == len(loader.dataset)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are not forked here")
def test_workers_never_collect_what_they_inherit(tmp_path, monkeypatch):
    """In a worker, a DALI pipeline of the parent would wait for ever for the parent's threads."""
    parent, seed = os.getpid(), torch.manual_seed

    class InACycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            (tmp_path / str(os.getpid())).touch()

    def collect_in_a_worker(value: int) -> torch.Generator:  # the first thing that a worker does
        if os.getpid() != parent:
            gc.collect()
        return seed(value)

    monkeypatch.setattr(torch, "manual_seed", collect_in_a_worker)
    data = module(num_workers=1)
    gc.disable()
    try:
        InACycle()
        assert len(list(data.evaluation_dataloader("train"))) > 0
    finally:
        gc.enable()
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == [str(parent)]


def test_more_workers_than_processors_are_capped_quietly():
    loader = module(num_workers=1000).train_dataloader()
    assert 0 < loader.num_workers < 1000


# Lightning's advice on loaders does not concern what these tests show.
quiet = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Recorder(L.LightningModule):
    """Records the indexes and a checksum of every batch; trains one number."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {}

    def training_step(self, batch, batch_idx):
        indexes, views, _ = batch
        entry = (indexes.tolist(), [float(view.double().sum()) for view in views])
        self.seen.setdefault(self.current_epoch, []).append(entry)
        return self.weight**2

    def validation_step(self, batch, batch_idx):
        assert len(batch) == 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(root, max_epochs, checkpoint=None, **values):
    recorder = Recorder()
    trainer = L.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=root,
    )
    trainer.fit(recorder, datamodule=LightningData(module(128, **values)), ckpt_path=checkpoint)
    trainer.save_checkpoint(root / f"{max_epochs}.ckpt")
    return recorder.seen


@quiet
@pytest.mark.parametrize("form", ["torchvision", pytest.param("dali", marks=needs_dali)])
def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(tmp_path, form):
    whole = fit(tmp_path, 3, num_workers=2, format=form)
    fit(tmp_path, 1, format=form)
    resumed = fit(tmp_path, 3, checkpoint=tmp_path / "1.ckpt", format=form)
    assert sorted(whole) == [0, 1, 2]
    assert resumed == {epoch: whole[epoch] for epoch in (1, 2)}
    assert whole[0] != whole[1]


@quiet
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_lightning_trains_without_a_labelled_validation_split(tmp_path):
    assert sorted(fit(tmp_path, 1, no_labels=True)) == [0]
