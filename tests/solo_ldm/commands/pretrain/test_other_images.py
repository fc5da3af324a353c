"""A run on images of four deep channels, and one whose validation images cannot be read."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from solo_ldm.cli import main, run_command
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.commands.shared.inputs import load_images
from solo_ldm.data import DataConfig
from solo_ldm.data.sources.decoding import read_image
from solo_ldm.run.resume import load_checkpoint
from solo_ldm.weights.export import export_backbone
from solo_ldm.weights.pretrained import load_pretrained
from solo_ldm.weights.published.entry import WEIGHTS
from solo_ldm.zoo.backbones import BackboneKind, ZooBackbone
from tests.support.data.images import make_classes
from tests.support.linear_toy import make_images
from tests.support.toy import toy_config

pytest.importorskip("tifffile")
from tests.support.data.deep import files, stacks

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")
SMALL = [
    "max_epochs=1",
    "scheduler.warmup_epochs=0",
    "data.fraction=-1",
    "augmentations=cifar",
    "backbone.name=convnet_small",
]
JITTER = "augmentations.0.color_jitter.hue=0.1"


@pytest.fixture(scope="module")
def satellite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("satellite")
    root = files(folder / "images", stacks(4, np.uint16, 30, scale=3000), planarconfig="contig")
    said = io.StringIO()
    data = ["data=image_folder", f"data.train_path={root}", "data.channels=4", *SMALL]
    cfg = toy_config(folder / "runs", *data, "optimizer.batch_size=16", JITTER)
    outcome = pretrain(cfg, console=Console(file=said, width=200))
    assert outcome is not None
    return outcome, root, said.getvalue()


def test_a_run_says_the_range_and_the_channels_of_its_images_and_keeps_them(satellite):
    outcome, _, said = satellite
    assert "data.range: taken as [0, 4095], as pixels of 30 of 30 sampled files" in said
    assert "data.channels: 4, of mean" in said
    args = json.loads(outcome.folder.args.read_text())
    assert args["data"]["range"] == [0, 4095]
    assert args["backbone"]["kwargs"]["in_chans"] == 4
    assert len(args["augmentations"][0]["mean"]) == 4
    assert outcome.results["results"]["knn-20"]["top1"] > 0


def test_weights_of_any_form_take_images_as_the_training_did(satellite, tmp_path):
    outcome, root, _ = satellite
    path = export_backbone(outcome.folder.path, tmp_path / "exported.safetensors")
    sources = (outcome.folder.path, outcome.folder.backbone, outcome.folder.last, path)
    batches = []
    for source in sources:
        weights = load_pretrained(source)
        assert (weights.num_channels, weights.pixel_range) == (4, (0, 4095)), source
        config = DataConfig(dataset="custom", train_path=str(root), num_workers=0)
        data = load_images(config, weights, 8, 0, torch.device("cpu"))
        batches.append(next(iter(data.evaluation_dataloader("val")))[0])
    assert all(torch.equal(one, batches[0]) for one in batches)
    assert batches[0].shape[1] == 4


def test_a_published_backbone_reads_files_as_the_training_did(satellite):
    outcome, root, _ = satellite
    weights = load_pretrained(outcome.folder.path)
    loaded = ZooBackbone("satellite", weights)
    path = next(root.glob("a/*.tif"))
    array = np.asarray(read_image(path, (0, 4095), 4))
    assert torch.equal(loaded.preprocess(path), loaded.preprocess(array))
    assert loaded.features(path).shape == (1, weights.backbone.num_features)
    with pytest.raises(ValueError, match=r"it has 3 channels.*set data.channels=3"):
        loaded.preprocess(array[..., :3])


def test_a_model_card_says_the_channels(satellite, tmp_path):
    outcome, _, _ = satellite
    BackboneKind().write_weights(outcome.folder.path, tmp_path / WEIGHTS, half=False)
    card = BackboneKind().hub_config(tmp_path)
    assert card["pretrained_cfg"]["input_size"] == [4, 32, 32]
    assert card["model_args"]["in_chans"] == 4
    assert load_pretrained(tmp_path / WEIGHTS).pixel_range == (0, 4095)


def test_evaluations_take_the_channels_of_the_run_and_refuse_others(satellite, capsys):
    outcome, _, _ = satellite
    source = f"pretrained_feature_extractor={outcome.folder.path}"
    main(["knn", source, "k=[20]", "accelerator=cpu"])
    results = json.loads((outcome.folder.path / "evaluation/knn/results.json").read_text())
    (score,) = results["results"].values()
    assert score["preprocessing"]["range"] == [0, 4095]
    with pytest.raises(SystemExit):
        main(["knn", source, "k=[1]", "data.channels=3"])
    assert "data.channels: expected 4" in capsys.readouterr().err


def test_images_that_do_not_fit_a_run_are_answered_with_what_it_takes(satellite, tmp_path):
    outcome, _, _ = satellite
    weights = load_pretrained(outcome.folder.path)
    gray = [one[..., 0] for one in stacks(1)]
    bright = [one + np.uint16(20000) for one in stacks(4, np.uint16, scale=3000)]
    takes = rf"; {outcome.folder.path} takes 4 channels and pixels in \[0, 4095\]: give images like"
    for name, arrays, found in (("gray", gray, "it has 1 channel,"), ("bright", bright, "100 %")):
        files(tmp_path / name, arrays, **({"planarconfig": "contig"} if name == "bright" else {}))
        config = DataConfig(dataset="custom", train_path=str(tmp_path / name), num_workers=0)
        with pytest.raises(ValueError, match=found + ".*" + takes) as caught:
            load_images(config, weights, 8, 0, torch.device("cpu"))
        assert "set data.channels" not in str(caught.value)
        assert "leave it out" not in str(caught.value)


def test_a_backbone_of_other_channels_is_refused(satellite, tmp_path):
    _, root, _ = satellite
    data = ["data=image_folder", f"data.train_path={root}", "data.channels=4", *SMALL]
    with pytest.raises(ValueError, match=r"backbone\.kwargs\.in_chans: expected 4"):
        pretrain(
            toy_config(tmp_path, *data, *("+backbone.kwargs.in_chans=3", "optimizer.batch_size=16"))
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["torchvision", "dali"])
def test_a_run_ends_with_results_where_no_validation_image_can_be_read(tmp_path, form):
    if form == "dali":
        pytest.importorskip("nvidia.dali")
    train, val = make_classes(tmp_path / "train", count=8), make_classes(tmp_path / "val", count=2)
    for path in val.glob("*/*.png"):
        path.write_bytes(str(path).encode())
    data = ["data=image_folder", f"data.train_path={train}", f"data.val_path={val}", *SMALL]
    cfg = toy_config(
        tmp_path / "runs",
        *data,
        "optimizer.batch_size=8",
        f"data.format={form}",
        "data.num_workers=1",
        "evaluation.protocols=[linear-features]",
    )
    said = io.StringIO()
    outcome = pretrain(cfg, console=Console(file=said, width=200))
    assert outcome is not None
    assert outcome.results["results"] == {}
    assert "none of the 4 validation images can be read" in said.getvalue()
    assert outcome.results["unreadable_images"]["val"]["count"] == 4


QUICK = ("evaluation.protocols=[]", "optimizer.batch_size=32", "data=custom", *SMALL[1:])


def train(folder, *overrides, name="gaussprob"):
    outcome = pretrain(toy_config(folder, *QUICK, *overrides, name=name))
    assert outcome is not None
    return outcome.folder


def test_images_of_other_or_no_classes_continue_with_a_new_online_classifier(tmp_path, capsys):
    for classes in (2, 3):
        make_images(tmp_path / str(classes), classes=classes, each=40)
    steps = {2: 2, 3: 3, 0: 3}  # of an epoch
    given, before, last, done = "null", None, None, 0
    for epochs, now in enumerate((2, 3, 0, 2), start=1):
        images = (f"data.train_path={tmp_path / str(now or 3)}", f"data.no_labels={not now}")
        changes = (f"max_epochs={epochs}", f"resume_from_checkpoint={given}")
        capsys.readouterr()
        folder = train(tmp_path / "runs", *images, *changes)
        shown = capsys.readouterr().out
        if before is not None:
            sizes = [f"one of {count} classes" if count else "none" for count in (before, now)]
            assert f"anew: {last} holds {sizes[0]}, the data takes {sizes[1]}" in shown
        checkpoint = load_checkpoint(folder.last)
        assert ("classifier.weight" in checkpoint["state_dict"]) == (now > 0)
        # The optimiser's state of all other parameters goes on.
        (optimizer,) = checkpoint["optimizer_states"]
        done += steps[now]
        for group in optimizer["param_groups"]:
            counted = {int(optimizer["state"][number]["step"]) for number in group["params"]}
            assert counted == {steps[now] if "classifier" in group["name"] else done}, group["name"]
        given, before, last = folder.path, now, folder.last


def test_evaluations_say_that_the_images_of_the_training_have_changed(tmp_path, capsys):
    images = make_images(tmp_path / "images", classes=2, each=40)
    folder = train(tmp_path / "runs", f"data.train_path={images}", "max_epochs=1")
    source = f"pretrained_feature_extractor={folder.path}"
    commands = {
        "knn": ["k=[1]"],
        "linear": ["protocol=linear-features", f"checkpoint.dir={tmp_path / 'linear'}"],
    }

    def shown(command, *more):
        capsys.readouterr()
        run_command(command, [source, "accelerator=cpu", *more])
        return capsys.readouterr().out

    for command, more in commands.items():
        assert "trained on other data" not in shown(command, *more)
    next(images.rglob("*.png")).unlink()
    said = f"{folder.path} was trained on other data (80 images"
    for command, more in commands.items():
        out = shown(command, *more)
        assert said in out, command
        assert "now: 79 images" in out
        assert "the held-out images may be others" in out
    assert said not in shown("knn", *commands["knn"], "data.val_fraction=0.5")
    for command in ("clusters", "uncertainty"):  # which this run is not for
        capsys.readouterr()
        with pytest.raises(SystemExit):
            run_command(command, [source, "accelerator=cpu"])
        assert said in capsys.readouterr().out, command
    folder.data.unlink()
    assert "trained on other data" not in shown("knn", *commands["knn"])
