"""Training on shards: the views, the order and the identity are those of any other images."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from solo_ldm.cli import main
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data.datasets.shards import _index
from solo_ldm.run.configuration import complete, read_data
from solo_ldm.run.data_identity import DataIdentity, identity_of_images
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import single_device
from tests.support.data.images import (
    BACKENDS,
    ONE_VIEW,
    VIEWS,
    epoch_of,
    equal,
    module,
    odd_images,
    with_broken,
)
from tests.support.data.shards import samples, saved, table_of, tar_of, tars_of, tars_of_folder
from tests.support.processes import kill_at, launch
from tests.support.toy import toy_config

# Toy runs are too short to leave a collapse.
pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

SHARDS = ("data=webdataset", "data.fraction=-1", "augmentations=digits", "optimizer.batch_size=8")
SHARDS += ("backbone.name=convnet_small", "evaluation.protocols=[]", "health.enabled=false")


def train(cfg) -> RunFolder:
    """`pretrain` as a function, which a child can be given."""
    outcome = pretrain(cfg)
    assert outcome is not None
    return outcome.folder


@pytest.mark.parametrize("form", BACKENDS)
@pytest.mark.parametrize("views", [VIEWS, ONE_VIEW], ids=["all", "crop"])
def test_images_of_a_folder_and_of_shards_have_the_same_views(tmp_path, photographs, form, views):
    folder = module(form, views, train_path=str(photographs), num_workers=1)
    pattern = tars_of_folder(photographs, tmp_path, each=7)
    shards = module(form, views, dataset="webdataset", train_path=pattern, num_workers=1)
    assert equal(epoch_of(folder, 1), epoch_of(shards, 1))
    first, second = (list(one.evaluation_dataloader("val")) for one in (folder, shards))
    assert len(first) == len(second)
    for ours, theirs in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))
    assert shards.classes == ("china", "flower")


@pytest.mark.parametrize("form", BACKENDS)
def test_rows_of_tables_have_the_same_views(tmp_path, photographs, form):
    paths = sorted(photographs.glob("*/*"))
    images = [path.read_bytes() for path in paths]
    labels = [int(path.parent.name == "flower") for path in paths]
    place = saved(tmp_path / "set", table_of(images, labels, ("china", "flower")))
    folder = module(form, ONE_VIEW, train_path=str(photographs), num_workers=1)
    rows = module(form, ONE_VIEW, dataset="hf", train_path=str(place), num_workers=1)
    assert equal(epoch_of(folder), epoch_of(rows))


@pytest.mark.parametrize("form", BACKENDS)
def test_gray_cmyk_palettes_alpha_and_other_formats_are_as_in_files(tmp_path, form):
    odd_images(tmp_path / "images")
    members = {path.name: path.read_bytes() for path in sorted((tmp_path / "images").iterdir())}
    place = tar_of(tmp_path / "odd.tar", members)
    files = module(form, ONE_VIEW, 8, train_path=str(tmp_path / "images"), num_workers=0)
    parts = module(form, ONE_VIEW, 8, dataset="webdataset", train_path=str(place), num_workers=0)
    assert equal(epoch_of(files), epoch_of(parts))


@pytest.mark.parametrize("form", BACKENDS)
def test_unreadable_images_of_shards_are_skipped_and_named(tmp_path, photographs, form):
    broken = with_broken(tmp_path / "images", photographs)
    pattern = tars_of_folder(tmp_path / "images", tmp_path / "shards", each=40)
    data = module(
        *(form, VIEWS, 8),
        **{"dataset": "webdataset", "train_path": pattern, "num_workers": 1, "val_fraction": 0},
    )
    batches = epoch_of(data)
    names = {f"{Path(one).parent.name}_{Path(one).name}" for one in broken}
    place = f"{tmp_path}/shards/train-0000.tar"
    assert {*data.unreadable()["train"]} == {f"{place}/{name}" for name in names}
    assert sum(len(indexes) for indexes, _, _ in batches) == 40


def epoch_of_one_process(pattern: str, folder: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    data = module(
        "torchvision", ONE_VIEW, 3, dataset="webdataset", train_path=pattern, num_workers=0
    )
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(world_size=2, global_rank=rank, strategy=strategy)
    seen = [[indexes.tolist() for indexes, _, _ in epoch_of(data, epoch)] for epoch in (0, 1)]
    data.share_unreadable()
    torch.save((seen, data.unreadable()), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_see_each_image_of_damaged_shards_once_an_epoch(tmp_path):
    pattern = tars_of(tmp_path, 4, 10)
    cut = tmp_path / "train-0002.tar"
    cut.write_bytes(cut.read_bytes()[: 4 * 2048 + 1700])  # 4 whole samples, 34 images in all
    launch(2, epoch_of_one_process, pattern, tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for epoch in (0, 1):
        shares = [[index for step in seen[epoch] for index in step] for seen, _ in ranks]
        # a quarter of each class is held out: 26 images, 4 steps of 2 x 3
        assert [len(one) for one in shares] == [12, 12]
        assert len({*shares[0], *shares[1]}) == 24
    assert ranks[0][0][0] != ranks[0][0][1]


def test_killed_in_an_epoch_of_shards_and_started_again_gives_the_same_weights(tmp_path):
    pattern = tars_of(tmp_path / "shards", 4, 10)
    whole, killed = (
        toy_config(tmp_path / name, *SHARDS, f"data.train_path='{pattern}'")
        for name in ("whole", "killed")
    )
    expected = load_file(train(whole).backbone)
    kill_at(6, train, killed)  # 4 steps an epoch: in the middle of the second
    (unfinished,) = (tmp_path / "killed" / "gaussprob").iterdir()
    resumed = train(killed)
    assert resumed.path == unfinished
    actual = load_file(resumed.backbone)
    assert all(torch.equal(value, actual[key]) for key, value in expected.items())


def identity_of(place: Path | str, *overrides: str) -> DataIdentity:
    _index.cache_clear()
    cfg = complete(toy_config(Path("runs"), *SHARDS, f"data.train_path='{place}'", *overrides))
    return identity_of_images(read_data(cfg, single_device("cpu")))


@pytest.mark.parametrize("few", [True, False])
def test_shards_are_known_by_their_images_not_by_their_names(tmp_path, monkeypatch, few):
    if not few:
        monkeypatch.setattr("solo_ldm.run.data_identity._MOST_FILES", 10)
    pattern = tars_of(tmp_path / "one", 2, 10)
    first = identity_of(pattern)
    assert first.what.startswith("20 images of")
    assert identity_of(tmp_path / "one").contents == first.contents
    packed = tars_of(tmp_path / "two", 4, 5, "other")
    assert identity_of(packed).contents == first.contents
    assert identity_of(packed).digest != first.digest
    tar_of(tmp_path / "two" / "other-0003.tar", samples([15, 16, 17, 18, 99]))
    assert identity_of(packed).contents != first.contents
    swapped = {**samples(range(15, 20)), "0015.cls": b"0"}
    tar_of(tmp_path / "two" / "other-0003.tar", swapped)
    assert identity_of(packed).contents != first.contents


def test_commands_take_shards(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tars_of(Path("shards"), 4, 10)
    cut = Path("shards/train-0003.tar")
    cut.write_bytes(cut.read_bytes()[:5000])
    tar_of(Path("shards/val.tar"), samples(range(90, 96)))
    small = ["max_epochs=1", "scheduler.warmup_epochs=0", "data.num_workers=0"]
    small += ["method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"]
    places = ["data.train_path=shards/train-{0000..0003}.tar", "data.val_path=shards/val.tar"]
    keys = ["data=webdataset", *places, "augmentations=digits", "backbone.name=convnet_small"]
    keys += ["+backbone.kwargs.width=8", "optimizer.batch_size=8", "evaluation.report=false"]
    main(["pretrain", "--config-name", "gaussprob", *keys, *small, "evaluation.protocols=[]"])
    shown = capsys.readouterr().out
    assert "1 of 4 shards are damaged from there on" in shown
    (run,) = Path("trained_models/gaussprob").iterdir()
    main(["knn", str(run), "data.num_workers=0"])
    shown = capsys.readouterr().out
    assert "1 of 4 shards are damaged from there on" in shown
    assert "6 test" in shown
    main(["linear", str(run), "data.num_workers=0", "max_epochs=1", "optimizer.batch_size=8"])
    assert "1 of 4 shards are damaged from there on" in capsys.readouterr().out
    (linear,) = Path("trained_models/linear").glob("*/results.json")
    scored_on = json.loads(linear.read_text())["scored_on"]
    assert scored_on == "test images of webdataset (data.val_path)"


def test_a_pattern_that_the_shell_has_opened_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tars_of(Path("shards"), 2, 10)
    opened = [f"data.train_path=shards/train-000{number}.tar" for number in (0, 1)]
    with pytest.raises(SystemExit):
        main(["pretrain", "--config-name", "gaussprob", "data=webdataset", *opened])
    assert "data.train_path: given 2 times" in capsys.readouterr().err
