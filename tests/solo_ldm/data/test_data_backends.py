"""DALI and torchvision: the same views of the same images in the same order."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from solo_ldm.data import DataConfig, UnreadableImageError
from solo_ldm.data.backends import choice as backends_module
from solo_ldm.data.backends.base import TrainViews
from solo_ldm.data.backends.choice import choose_backend, dali_installed
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sampler import EpochSampler

needs_dali = pytest.mark.skipif(not dali_installed(), reason="DALI is not installed (Linux only)")
BACKENDS = ["torchvision", pytest.param("dali", marks=needs_dali)]

# Every operator, asymmetric views, three sizes.
VIEWS = [
    {
        "crop_size": 24,
        "num_crops": 2,
        "rrc": {"crop_min_scale": 0.2, "crop_max_scale": 1.0},
        "color_jitter": {
            **{"prob": 0.8, "brightness": 0.4},
            **{"contrast": 0.4, "saturation": 0.2, "hue": 0.1},
        },
        "grayscale": {"prob": 0.2},
        "gaussian_blur": {"prob": 0.5},
        "solarization": {"prob": 0.2},
        "horizontal_flip": {"prob": 0.5},
    },
    {"crop_size": 12, "num_crops": 3, "rrc": {"crop_min_scale": 0.05, "crop_max_scale": 0.2}},
    {"crop_size": 16, "num_crops": 1, "affine": {"prob": 0.7, "degrees": 30, "translate": 0.1}},
]
ONE_VIEW = [{"crop_size": 24, "num_crops": 1, "rrc": {"crop_min_scale": 0.1}}]
PLAIN = {"mean": [0, 0, 0], "std": [1 / 255] * 3}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of two classes with 20 patches of photographs each, of many sizes and formats."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir()
        for number in range(20):
            top, left = 15 * number, 20 * number
            side = 60 + 3 * number
            patch = Image.fromarray(photograph[top : top + side, left : left + 80])
            if number % 5 == 1:
                patch.save(folder / name / f"{number:02}.png")
            elif number % 5 == 2:
                patch.convert("L").save(folder / name / f"{number:02}.jpg")
            elif number % 5 == 3:
                patch.save(folder / name / f"{number:02}.jpg", progressive=True, subsampling=2)
            else:
                patch.save(folder / name / f"{number:02}.jpg", quality=90)
    return folder


def module(form, views=VIEWS, batch_size=16, seed=0, **values):
    views = [{**view, **PLAIN} for view in views]
    values = {"dataset": "custom", "num_workers": 2, "val_fraction": 0.25, **values}
    return ImageDataModule(DataConfig(format=form, **values), views, batch_size, seed)


def epoch_of(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def equal(first, second):
    return len(first) == len(second) and all(
        torch.equal(a[0], b[0])
        and all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))
        and torch.equal(a[2], b[2])
        for a, b in zip(first, second, strict=True)
    )


def close(ours, theirs, mean=1.0, most=6.0):
    """Within one level on average, and six for 99 of 100 values.

    Pillow rounds and clamps to [0, 255] between the two directions of a resize, DALI after both.
    """
    difference = (ours - theirs).abs()
    return difference.mean() < mean and difference.quantile(0.99) <= most


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
    folder = {"train_path": str(photographs), "val_fraction": 0}

    def statistics(form, seeds):
        views = [
            view
            for seed in seeds
            for _, (view, *_), _ in epoch_of(
                module(form, VIEWS[:1], seed=seed, num_workers=0, **folder)
            )
        ]
        images = torch.cat(views)
        shares = torch.histc(images, 8, 0, 255) / images.numel()
        return images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3)), shares, len(images)

    mean, std, shares, count = statistics("dali", range(40))
    mean_too, std_too, shares_too, _ = statistics("torchvision", range(100, 140))
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


def odd_images(folder):
    """One image of each kind that DALI and Pillow would decode differently; equal in content."""
    folder.mkdir()
    photograph = Image.fromarray(load_sample_images().images[1][100:164, 200:264])
    rows = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    photograph.save(folder / "0.jpg", quality=95)
    photograph.convert("CMYK").save(folder / "1.jpg", quality=95)
    photograph.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "2.png")
    Image.fromarray(rows.astype(np.uint16)).save(folder / "3.png")
    faded = photograph.convert("RGBA")
    faded.putalpha(Image.fromarray((rows // 257).astype(np.uint8)))
    faded.save(folder / "4.png")
    photograph.save(folder / "5.bmp")
    photograph.save(folder / "6.webp", lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    photograph.resize((64, 32)).save(folder / "7.jpg", exif=turned, quality=95)


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


def with_broken(folder, photographs):
    """40 images of which three are broken: no image, cut off, and damaged in the middle."""
    import shutil

    shutil.copytree(photographs, folder)
    broken = [folder / "china" / name for name in ("00.jpg", "04.jpg", "06.png")]
    broken[0].write_bytes(b"no image at all")
    broken[1].write_bytes(broken[1].read_bytes()[:700])
    damaged = bytearray(broken[2].read_bytes())
    damaged[400:420] = b"\0" * 20
    broken[2].write_bytes(damaged)
    return [str(path) for path in broken]


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
