"""Pairs of images of one class: how often they match, what they depend on, both backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data.augment.draws import draw_view
from solo_ldm.data.augment.pairs import Partners
from solo_ldm.data.backends.base import TrainViews
from solo_ldm.data.backends.choice import dali_installed
from solo_ldm.data.backends.torchvision import MultiViewImages
from solo_ldm.data.config import DataConfig, ViewSpec, check_data_config
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.data.sources.images import ArrayImages
from solo_ldm.methods import find_method
from solo_ldm.run.configuration import complete
from tests.support.toy import toy_config

LABELS = np.repeat(np.arange(5), [40, 7, 2, 30, 21])
PLAIN = (ViewSpec(crop_size=8, num_crops=2),)
FORMATS = ["torchvision", pytest.param("dali", marks=pytest.mark.skipif(
    not dali_installed(), reason="needs DALI"))]  # fmt: skip


def numbered(labels: np.ndarray = LABELS) -> ArrayImages:
    """Images of one value each, which says their number."""
    images = np.repeat(np.arange(len(labels), dtype=np.uint8), 64).reshape(-1, 8, 8)
    return ArrayImages(
        images, "numbers", labels, [str(c) for c in range(5)], (0.0,) * 3, (1.0,) * 3
    )


def numbers(view: torch.Tensor) -> np.ndarray:
    """Read the numbers of plain images (B, 3, 8, 8)."""
    return (255 * view[:, 0, 4, 4]).round().long().numpy()


def digits(**data) -> ImageDataModule:
    """Digits in pairs, of one value each on either backend."""
    view = ViewSpec(crop_size=8, num_crops=2)
    config = DataConfig("digits", num_workers=0, **{"pair_match": 0.7, **data})
    return ImageDataModule(config, [view], batch_size=64, seed=3)


@pytest.mark.parametrize("match", [0.0, 0.5, 0.9, 1.0])
def test_as_many_partners_are_of_the_same_class_as_asked_for_and_none_is_the_image_itself(match):
    partners, indexes = Partners(LABELS, match, 0, "numbers"), np.arange(len(LABELS))
    drawn = np.stack([partners(epoch, indexes) for epoch in range(100)])
    assert (drawn != indexes).all()
    share = (LABELS[drawn] == LABELS).mean()
    # Five standard deviations of the share of 10 000 draws.
    assert abs(share - match) <= 5 * np.sqrt(match * (1 - match) / drawn.size)


def test_a_partner_depends_on_seed_epoch_and_image_alone():
    shuffled = np.random.default_rng(0).permutation(len(LABELS))
    one, other = Partners(LABELS, 0.5, 0, "numbers"), Partners(LABELS, 0.5, 1, "numbers")
    whole = one(3, np.arange(len(LABELS)))
    np.testing.assert_array_equal(one(3, shuffled), whole[shuffled])
    np.testing.assert_array_equal(one(3, [17]), whole[17:18])
    assert (one(4, np.arange(len(LABELS))) != whole).mean() > 0.5
    assert (other(3, np.arange(len(LABELS))) != whole).mean() > 0.5


def test_the_order_of_classes_among_the_images_does_not_change_the_share():
    mixed = np.random.default_rng(0).permutation(LABELS)
    drawn = Partners(mixed, 1.0, 0, "numbers")(0, np.arange(len(mixed)))
    np.testing.assert_array_equal(mixed[drawn], mixed)


def batch(source, views, keys, partners=None):
    return MultiViewImages(TrainViews(source, views, 5, None, partners)).__getitems__(keys)


def test_the_second_view_is_of_the_partner_drawn_as_its_own_image_would_be():
    source, partners = numbered(), Partners(LABELS, 0.8, 5, "numbers")
    keys = [(2, index) for index in range(0, len(LABELS), 3)]
    indexes, views, targets = batch(source, PLAIN, keys, partners)
    np.testing.assert_array_equal(numbers(views[0]), indexes)
    np.testing.assert_array_equal(numbers(views[1]), partners(2, indexes))
    np.testing.assert_array_equal(targets, LABELS[indexes])
    alone = batch(source, PLAIN, keys)
    torch.testing.assert_close(alone[1][0], views[0])
    np.testing.assert_array_equal(numbers(alone[1][1]), indexes)


def test_every_other_view_is_of_the_partner_and_a_single_view_needs_none():
    source, partners = numbered(), Partners(LABELS, 1.0, 5, "numbers")
    many = (ViewSpec(crop_size=8, num_crops=2), ViewSpec(crop_size=4, num_crops=2))
    indexes, views, _ = batch(source, many, [(0, 11)], partners)
    shown = [int((255 * view[0, 0, 2, 2]).round()) for view in views]
    assert shown == [11, partners(0, indexes)[0], 11, partners(0, indexes)[0]]
    single = batch(source, (ViewSpec(crop_size=8, num_crops=1),), [(0, 11)], partners)
    assert numbers(single[1][0]) == [11]


@pytest.mark.parametrize("backend", FORMATS)
def test_a_loader_gives_the_share_that_the_configuration_asks_for(backend):
    data = digits(format=backend)
    train = data.source("train")
    assert train is not None
    plain = {train.load(i).tobytes(): label for i, label in enumerate(train.labels.tolist())}
    matched, total = 0, 0
    for indexes, views, targets in data.train_dataloader():
        first, second = ((255 * view).round().byte() for view in _raw(views, data))
        np.testing.assert_array_equal(targets, train.labels[indexes])
        for index, one, two in zip(indexes.tolist(), first, second, strict=True):
            assert one.permute(1, 2, 0).numpy().tobytes() == train.load(index).tobytes()
            label = plain[two.permute(1, 2, 0).numpy().tobytes()]
            matched += label == train.labels[index]
            total += 1
    assert abs(matched / total - 0.7) < 5 * np.sqrt(0.21 / total)


def _raw(views: list[torch.Tensor], data: ImageDataModule) -> list[torch.Tensor]:
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (data.mean, data.std))
    return [view * std + mean for view in views]


@pytest.mark.skipif(not dali_installed(), reason="needs DALI")
def test_both_backends_give_the_same_pairs_of_files(tmp_path):
    """Files of different sizes, one of them broken, augmented."""
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "abc"[number % 3]
        folder.mkdir(exist_ok=True)
        size = (20 + number, 28, 3)
        coarse = Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).resize((24, 30))
        coarse.save(folder / f"{number}.png")
    (tmp_path / "a" / "0.png").write_bytes(b"no image")
    views = [{"crop_size": 16, "num_crops": 2, "rrc": {"enabled": True}}]
    batches = {}
    for backend in ("torchvision", "dali"):
        config = DataConfig(
            "custom", str(tmp_path), format=backend, num_workers=0, val_fraction=0, pair_match=0.7
        )
        data = ImageDataModule(config, views, batch_size=8, seed=1)
        batches[backend] = list(data.train_dataloader())
    for ours, theirs in zip(batches["torchvision"], batches["dali"], strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[2], theirs[2])
        for one, other in zip(ours[1], theirs[1], strict=True):
            assert (one - other.cpu()).abs().mean() < 0.05


@pytest.mark.parametrize("backend", FORMATS)
def test_two_processes_see_the_pairs_of_one_and_a_resumed_run_those_of_the_whole(backend):
    from solo_ldm.data.backends.choice import choose_backend

    source = numbered()
    data = DataConfig("digits", format=backend)
    chosen = choose_backend(data, source, torch.device("cpu"))
    partners = Partners(LABELS, 0.7, 0, "numbers")

    def batches(sampler: EpochSampler, epoch: int = 1) -> list:
        sampler.set_epoch(epoch)
        loader = chosen.train_loader(TrainViews(source, PLAIN, 0, None, partners), sampler, 0)
        return [(numbers(views[0]), numbers(views[1])) for _, views, _ in loader]

    whole = batches(EpochSampler(100, 16, 0))
    halves = [batches(EpochSampler(100, 8, 0, num_replicas=2, rank=rank)) for rank in range(2)]
    for step, pair in enumerate(whole):
        for view in range(2):
            together = np.concatenate([half[step][view] for half in halves])
            np.testing.assert_array_equal(together, pair[view])
            np.testing.assert_array_equal(pair[1], partners(1, pair[0]))


def test_draws_of_pairs_leave_those_of_augmentations_as_they_are():
    """They come from a stream of their own."""
    spec = ViewSpec(crop_size=8, num_crops=1)
    sides = np.full(20, 8)
    before = draw_view(spec, 1, 0, 0, np.arange(20), sides, sides)
    Partners(LABELS, 0.5, 0, "numbers")(0, np.arange(20))
    after = draw_view(spec, 1, 0, 0, np.arange(20), sides, sides)
    np.testing.assert_array_equal(before.box, after.box)


def test_the_online_classifier_learns_from_the_first_images_alone(tmp_path):
    """With pairs of other classes alone, the labels say nothing true of the second."""
    cfg = complete(toy_config(tmp_path, "data.pair_match=0.0", name="sphereprob"))
    cfg.data.num_classes, cfg.data.image_size = 10, 16
    cfg.data.num_large_crops, cfg.data.num_small_crops = 2, 0
    method = find_method(cfg.method)(cfg)
    method.log_dict = lambda *args, **kwargs: None
    first, second = torch.randn(2, 8, 3, 16, 16)
    targets = torch.arange(8)
    method.eval()
    expected = torch.nn.functional.cross_entropy(method(first)["logits"], targets)
    out = method.training_step([torch.arange(8), [first, second], targets], 0)
    torch.testing.assert_close(out["terms"]["train_class_loss"], expected.detach())


def test_pairs_that_cannot_be_are_one_line_before_anything_is_written(tmp_path):
    cases = [
        (lambda: Partners([0, 1, -1], 0.9, 0, "x"), "1 of the 3 of x without one"),
        (lambda: Partners([0, 0, 1], 0.9, 0, "x"), "class of one training image"),
        (lambda: Partners([0, 0], 0.9, 0, "x"), "all of one; set data.pair_match=1"),
        (lambda: check_data_config(DataConfig("digits", pair_match=1.5)), "a number from 0 to 1"),
        (lambda: check_data_config(DataConfig("digits", pair_match=-0.1)), "a number from 0 to 1"),
        (
            lambda: pretrain(toy_config(tmp_path, "data.pair_match=0.9", "data.no_labels=true")),
            "needs a label for each training image",
        ),
    ]
    for case, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            case()
        assert "\n" not in str(caught.value)
    assert not list(Path(tmp_path).iterdir())
