"""Images that cannot be read: another replaces each, and they are named."""

import shutil

import numpy as np
import pytest
import torch

from solo_ldm.data import UnreadableImageError
from tests.support.data.images import (
    BACKENDS,
    VIEWS,
    close,
    epoch_of,
    equal,
    module,
    needs_dali,
    with_broken,
)


@needs_dali
def test_an_epoch_left_before_an_unreadable_image_ends_quietly(tmp_path, photographs):
    with_broken(tmp_path / "images", photographs)
    loader = module(
        *("dali", VIEWS, 4), train_path=str(tmp_path / "images"), val_fraction=0
    ).train_dataloader()
    for steps in range(1, len(loader)):
        begun = iter(loader)
        for _ in range(steps):
            next(begun)
        begun.close()
    assert sum(len(indexes) for indexes, _, _ in loader) == 40


@pytest.mark.parametrize("form", BACKENDS)
@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_are_skipped_and_named(tmp_path, photographs, form, workers):
    broken = with_broken(tmp_path / "images", photographs)
    data = module(
        *(form, VIEWS, 8),
        **{"train_path": str(tmp_path / "images"), "num_workers": workers, "val_fraction": 0},
    )
    batches = epoch_of(data)
    source = data.source("train")
    assert source is not None
    seen = torch.cat([indexes for indexes, _, _ in batches]).tolist()
    numbers = [index for index in range(40) if source.path(index) in broken]  # pyright: ignore
    assert len(seen) == 40
    assert not set(seen) & set(numbers)
    # The next image stands in, with its own label and draws of the one it stands for.
    assert sorted(seen) == sorted(
        [*(index for index in range(40) if index not in numbers), *(n + 1 for n in numbers)]
    )
    for indexes, _, targets in batches:
        assert np.array_equal(targets.numpy(), source.labels[indexes.numpy()])
    assert data.unreadable()["train"] == broken
    assert equal(batches, epoch_of(data))  # now known beforehand


@needs_dali
def test_both_backends_replace_unreadable_images_alike(tmp_path, photographs):
    with_broken(tmp_path / "images", photographs)
    one, other = (
        epoch_of(module(form, batch_size=8, train_path=str(tmp_path / "images"), val_fraction=0))
        for form in ("dali", "torchvision")
    )
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[0], b[0])
        assert all(close(x, y) for x, y in zip(a[1], b[1], strict=True))


@pytest.mark.parametrize("form", BACKENDS)
def test_unreadable_images_are_left_out_of_evaluation(tmp_path, photographs, form):
    broken = with_broken(tmp_path / "images", photographs)
    data = module(form, batch_size=8, train_path=str(tmp_path / "images"), val_fraction=0)
    batches = list(data.evaluation_dataloader("train"))
    assert sum(len(images) for images, _ in batches) == 37
    assert torch.cat([targets for _, targets in batches]).tolist() == [0] * 17 + [1] * 20
    assert data.unreadable() == {"train": broken}


@pytest.mark.parametrize("form", BACKENDS)
def test_a_folder_without_a_readable_image_is_one_clear_line(tmp_path, form):
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(b"not an image")
    data = module(form, batch_size=4, num_workers=0, train_path=str(tmp_path))
    with pytest.raises(UnreadableImageError, match="none of the 4 images") as caught:
        epoch_of(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", BACKENDS)
def test_a_batch_without_a_readable_image_is_left_out_and_counted(tmp_path, photographs, form):
    shutil.copytree(photographs, tmp_path / "images")
    for place in sorted((tmp_path / "images" / "china").iterdir())[4:]:
        place.write_bytes(b"")  # four batches, by their headers
    last = sorted((tmp_path / "images" / "flower").iterdir())[16:]
    for place in last:
        place.write_bytes(b"no image")
    data = module(form, batch_size=4, train_path=str(tmp_path / "images"), val_fraction=0)
    for _ in range(2):  # as an epoch of validation, and once more knowing them
        batches = list(data.evaluation_dataloader("train"))
        assert sum(len(images) for images, _ in batches) == 4 + 16
        assert sum(targets.sum().item() for _, targets in batches) == 16
    assert data.unreadable_summary()["train"]["count"] == 20


@pytest.mark.parametrize("form", BACKENDS)
def test_a_split_without_a_readable_image_has_no_batches_of_images(tmp_path, form):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(name.encode())
    data = module(form, batch_size=4, train_path=str(tmp_path), val_fraction=0)
    assert sum(len(images) for images, _ in data.evaluation_dataloader("train")) == 0
    assert data.unreadable_summary()["train"]["count"] == 2
