"""Small images of files, decoded once: nothing is to differ but the speed."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.data.images import BACKENDS, epoch_of, equal, module

KEPT = 20 * 24 * 32 * 3


@pytest.fixture(scope="module")
def small(tmp_path_factory, photographs):
    """Two classes of 20 images of 32 × 24 pixels; one is 16 bits deep, one gray, two broken."""
    folder = tmp_path_factory.mktemp("small")
    for number, path in enumerate(sorted(photographs.rglob("*.*"))):
        place = folder / path.parent.name / path.name
        place.parent.mkdir(exist_ok=True)
        Image.open(path).resize((32, 24)).save(place, quality=90)
        if number == 3:
            deep = np.linspace(0, 4000, 24 * 32).reshape(24, 32).astype(np.uint16)
            Image.fromarray(deep).save(place.with_suffix(".png"))
            place.unlink()
        if number in (5, 25):
            place.write_bytes(place.read_bytes()[:700])
    return folder


@pytest.mark.parametrize("form", BACKENDS)
def test_images_in_memory_give_the_same_batches_and_are_read_once(small, tmp_path, form):
    folder = tmp_path / "images"
    shutil.copytree(small, folder)
    how = {"batch_size": 10, "train_path": str(folder), "num_workers": 0, "range": [0, 3000]}
    data = {wanted: module(form, in_memory=wanted, **how) for wanted in (None, False)}
    assert data[None].notices == data[False].notices
    assert (data[None].decoded.num_bytes, data[False].decoded.num_bytes) == (2 * KEPT, 0)
    before = [epoch_of(data[False], epoch) for epoch in (0, 1)]
    plain = list(data[False].val_dataloader())
    assert equal(before[0], epoch_of(data[None]))
    after = list(data[None].val_dataloader())
    shutil.rmtree(folder)
    assert equal(before[1], epoch_of(data[None], 1))
    for (images, targets), (others, labels) in zip(plain, after, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(targets, labels)
    assert data[None].unreadable() == data[False].unreadable() != {}
    assert data[None].clipped() == data[False].clipped() == {"train": 1}


def test_images_of_several_sizes_stay_in_their_files(small, photographs, tmp_path):
    data = module("torchvision", train_path=str(photographs))
    data.prepare_data()
    assert data.decoded.num_bytes == 0
    with pytest.raises(ValueError, match=r"^data\.in_memory: expected images of one size"):
        module("torchvision", train_path=str(photographs), in_memory=True).prepare_data()
    # One of another size that is not in the sample.
    folder = tmp_path / "images"
    for number in range(300):
        place = folder / str(number % 2) / f"{number:03}.bmp"
        place.parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (3 + (number == 151), 2), (number % 256, 0, 0)).save(place)
    how = {"train_path": str(folder), "num_workers": 0, "val_fraction": 0}
    assert len(epoch_of(module("torchvision", **how))) == 300 // 16
    with pytest.raises(ValueError, match=r"1/151\.bmp of 2 × 4 pixels"):
        epoch_of(module("torchvision", in_memory=True, **how))


def test_a_part_of_images_in_memory_is_of_the_same_pixels(small):
    data = module("torchvision", train_path=str(small), num_workers=0)
    epoch_of(data)
    whole = data.source("train")
    indexes = np.array([7, 1, 7])
    data.keep("train", indexes)
    part = data.source("train")
    assert np.shares_memory(part._pixels, whole._pixels)
    for place, index in enumerate(indexes.tolist()):
        assert part.path(place) == whole.path(index)
        assert np.array_equal(np.asarray(part.load(place)), np.asarray(whole.load(index)))
