"""`solo_ldm.pretrain`: the command as a function, with images that a program holds."""

from __future__ import annotations

import random
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from PIL import Image

import solo_ldm
from solo_ldm.cli import main
from solo_ldm.commands.pretrain.trained import Run
from solo_ldm.files import read_json
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from tests.support import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

DIGITS: Any = sklearn.datasets.load_digits()
PIXELS = np.rint(DIGITS.images * (255 / 16)).astype(np.uint8)[:160]
LABELS = DIGITS.target[:160]
TOY: dict[str, Any] = {
    "epochs": 2,
    "augmentations": "digits",
    "backbone": {"kwargs": {"width": 4}},
    "method_kwargs": {"proj_hidden_dim": 16, "proj_output_dim": 8},
    "optimizer": {"batch_size": 64},
    "scheduler": {"warmup_epochs": 1},
    "evaluation": {"protocols": ["knn-20"], "report": False},
    "data.num_workers": 0,
}
TOY_COMMAND = (
    "max_epochs=2 augmentations=digits backbone.name=convnet_small backbone.kwargs.width=4 "
    "method_kwargs.proj_hidden_dim=16 method_kwargs.proj_output_dim=8 optimizer.batch_size=64 "
    "scheduler.warmup_epochs=1 evaluation.protocols=[knn-20] evaluation.report=false "
    "data.num_workers=0"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run on floats with their range."""
    output = tmp_path_factory.mktemp("runs")
    floats = DIGITS.images[:160]
    return solo_ldm.pretrain(data=floats, labels=LABELS, data_range=(0, 16), output=output, **TOY)


def weights(run: Run) -> bytes:
    return (run.folder / "backbone.safetensors").read_bytes()


def test_the_command_on_the_same_images_in_files_gives_the_same_weights(run, tmp_path):
    lines = []
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png {label}")
    listed = tmp_path / "images.txt"
    listed.write_text("\n".join(lines))
    given = ["data=custom", f"data.train_path={listed}", f"output={tmp_path / 'command'}"]
    main(["pretrain", "--config-name", "gaussprob", *TOY_COMMAND.split(), *given])
    (folder,) = (tmp_path / "command" / "gaussprob").iterdir()
    by_command = solo_ldm.load(folder)
    for key, value in by_command.backbone.state_dict().items():
        assert torch.equal(value, run.backbone.state_dict()[key])
    assert by_command.scores == run.scores
    assert torch.equal(by_command.features(PIXELS), run.features(DIGITS.images[:160]))


def test_a_loaded_run_gives_the_same_features_scores_and_summary(run):
    loaded = solo_ldm.load(str(run.folder))
    features = run.features(DIGITS.images[:8])
    assert features.shape == (8, loaded.backbone.num_features)
    assert torch.equal(loaded.features(DIGITS.images[:8]), features)
    assert not any(part.training for part in run.backbone.modules())
    assert loaded.scores == run.scores
    assert run.scores["knn-20"].keys() >= {"top1", "untrained_top1"}
    assert f"knn-20: {run.scores['knn-20']['top1']:.4f} (untrained" in repr(loaded)
    assert "<th>knn-20</th>" in loaded._repr_html_()
    assert loaded.report is None
    published = solo_ldm.load("zoo:gaussprob-digits")
    assert published.scores["knn-20"]["top1"] > 0.9
    assert len(published.features(list(PIXELS[:2]))) == 2


def test_a_run_holds_from_any_folder_and_by_the_files_of_its_weights(run, monkeypatch):
    monkeypatch.chdir(run.folder.parent)
    loaded = solo_ldm.load(run.folder.name)
    monkeypatch.chdir("/")
    assert loaded.folder == run.folder
    assert loaded.scores == run.scores != {}
    for name in ("backbone.safetensors", "checkpoints/last.ckpt"):
        by_file = solo_ldm.load(run.folder / name)
        assert (by_file.folder, by_file.scores) == (run.folder, run.scores)
    assert solo_ldm.load(run.folder / "checkpoints/best.ckpt").scores == {}  # of other weights
    with pytest.raises(ValueError, match=r"^source: expected the folder of a run .* got None$"):
        solo_ldm.load(None)  # pyright: ignore[reportArgumentType]


def test_features_of_every_kind_of_the_same_images_are_the_same(run, tmp_path):
    expected = run.features(DIGITS.images[:5])
    pictures = [Image.fromarray(pixels) for pixels in PIXELS[:5]]
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    floats = torch.tensor(DIGITS.images[:5])
    kinds = [
        floats,
        floats[:, None],
        DIGITS.images[:5, :, :, None],
        pictures,
        paths,
        list(zip(pictures, LABELS, strict=False)),
        [*floats],
    ]
    for images in kinds:
        assert torch.equal(run.features(images), expected)
    for images in (PIXELS[:5], [*PIXELS[:5]]):
        assert torch.equal(run.features(images, data_range=np.array([0, 255])), expected)
    assert torch.equal(run.features(paths[0]), run.features(DIGITS.images[:1]))
    over = np.concatenate([DIGITS.images[:5], np.full((1, 8, 8), 17)])
    with pytest.warns(UserWarning, match=r"images: 1 images hold values outside .*, 16\)"):
        run.features(over)


@pytest.mark.parametrize(
    ("images", "data_range", "message"),
    [
        (PIXELS[:5], None, r"data_range: .* uint8, .* 0 \.\.\. 16"),
        ([*torch.from_numpy(PIXELS[:5])], None, r"data_range: .* uint8, .* 0 \.\.\. 16"),
        (DIGITS.images[:5] + 17, None, r"data_range: .* \(0, 16\), outside of which are 100 %"),
        (DIGITS.images[:5], (16, 0), r"data_range: expected LOW < HIGH, got \[16, 0\]"),
        (DIGITS.images[:5], (0, 0), "data_range: expected LOW < HIGH"),
        (DIGITS.images[:5], 16, r"data_range: expected auto or two numbers \[LOW, HIGH\], got 16"),
        (DIGITS.images[:5], (0, np.nan), r"data_range: expected auto or two numbers .* nan"),
        (DIGITS.images[:5], "auto", r"data_range: .* float64; theirs lie in 0 \.\.\. 16"),
        (np.repeat(DIGITS.images[0][..., None], 3, 2), None, "one image is a list of one"),
    ],
)
def test_features_refuse_what_a_training_would(run, images, data_range, message):
    with pytest.raises(ValueError, match=message) as caught:
        run.features(images, data_range=data_range)
    assert "\n" not in str(caught.value)


def test_a_stopped_call_continues_when_it_is_called_again_on_the_same_images(
    run, tmp_path, monkeypatch, capsys
):
    look = StopAtNonFinite.on_train_batch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        look(self, trainer, *rest)
        if trainer.current_epoch == 1:
            signal.raise_signal(signal.SIGINT)

    # A process that was started in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGINT)
    given: dict[str, Any] = {"data_range": (0, 16), "output": tmp_path, **TOY}
    with monkeypatch.context() as patched:
        patched.setattr(StopAtNonFinite, "on_train_batch_end", stop)
        with pytest.raises(KeyboardInterrupt, match="the same call continues it"):
            solo_ldm.pretrain(data=DIGITS.images[:160], labels=LABELS, **given)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.chdir(tmp_path)
    other = DIGITS.images[:160].copy()
    other[0, 0, 0] += 1
    changed = solo_ldm.pretrain(data=other, labels=LABELS, **given)
    assert "continuing" not in capsys.readouterr().out
    # In a thread, which has no handlers of signals, as cells of some notebooks run.
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(
            solo_ldm.pretrain, data=DIGITS.images[:160].copy(), labels=LABELS, **given
        )
        continued = call.result()
    shown = capsys.readouterr().out
    assert "after epoch 1" in shown
    assert "finished run" not in shown
    assert continued.folder != changed.folder
    assert torch.equal(continued.features(other), run.features(other))
    # A finished run is left as it is, and said.
    relative = {**given, "output": ".", "max_epochs": 1, "epochs": None}
    first, again = (solo_ldm.pretrain(data=other, labels=LABELS, **relative) for _ in range(2))
    monkeypatch.chdir("/")
    assert len(again.features(other[:2])) == 2
    assert again.folder == first.folder.with_name(f"{first.folder.name}-2")
    name = f"gaussprob/{first.folder.name}"
    assert (
        f"{name} is a finished run of the same configuration, this one goes to {again.folder.name}"
        f'; solo_ldm.load("{name}") gives the finished one' in capsys.readouterr().out
    )


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"data": DIGITS.images}, r"data_range: .* float64; theirs lie in 0 \.\.\. 16"),
    ({"data": PIXELS[:1]}, "data: expected at least 2 training images, got 1"),
    # What is wrong in itself comes before a batch that is larger than these 20 images.
    ({"data": PIXELS[:20], "method": "supervised"}, "data: expected labelled images"),
    ({"data": PIXELS[:20], "backbone": {"name": "resnet_tiny_50"}}, "resnet_tiny_50"),
    ({"data": PIXELS, "labels": LABELS, "val": PIXELS, "val_labels": LABELS + 5}, "one .* got 10"),
    ({"data": PIXELS, "val": PIXELS, "val_labels": LABELS}, "val: expected none, as data have no"),
    ({"data": PIXELS, "val": "folder"}, "val: expected images in memory"),
    ({"data": "nowhere"}, "data: expected a folder, .* got nowhere"),
    ({"data": "cifar"}, "did you mean cifar10"),
    ({"data": "digits", "labels": LABELS}, "labels: expected none, as data are in files"),
    ({"method": "gausprob"}, "method: .* did you mean gaussprob?"),
    ({"method": "nowhere.yaml"}, "method: expected a YAML, got nowhere.yaml"),
    ({"optimizer": {"lrr": 1}}, "unknown key optimizer.lrr: did you mean optimizer.lr?"),
    ({"epochs": 3, "max_epochs": 3}, "epochs: is max_epochs as well"),
    ({"backbone": "resnet18"}, "set backbone.name=resnet18"),
    ({"backbone": torch.nn.Linear(1, 1)}, r"backbone: .* got Linear; .* backbone=.\"name\": "),
    ({"optimizer": {"lr": object()}}, "optimizer.lr: expected text, a number, .* got object"),
    ({"resolution": np.array([0.5, 1.5])}, r"resolution: expected .* got 1.5"),
    ({"augmentations": "cifr"}, "did you mean cifar"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[one[1] for one in REFUSED])
def test_what_does_not_fit_is_an_exception_of_one_line_before_anything_is_written(
    given, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        solo_ldm.pretrain(quiet=True, **given)
    assert re.search(message, str(caught.value), re.DOTALL), caught.value
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class Pairs(torch.utils.data.Dataset):
    """Images of several sizes with the numbers of classes that have names."""

    classes = ("even", "odd")

    def __len__(self) -> int:
        return 120

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if index >= len(self):
            raise IndexError
        picture = Image.fromarray(PIXELS[index])
        return picture.resize((8 + index % 3, 9)), int(LABELS[index] % 2)


def test_a_data_set_of_torch_trains_with_its_labels_and_sizes_and_other_images_to_score_on(
    tmp_path, capsys
):
    toy = {key: value for key, value in TOY.items() if key != "augmentations"} | {"epochs": 1}
    val = torch.utils.data.Subset(Pairs(), range(100, 120))
    state = random.getstate()
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):  # another program's
        trained = solo_ldm.pretrain("simclr", Pairs(), val=val, output=tmp_path, **toy)
        assert compose("byol").name == "byol-digits"
    assert trained.results["num_classes"] == 2
    assert trained.results["num_val_images"] == 20
    assert "augmentations=cifar, for images of 8 pixels" in capsys.readouterr().out
    assert random.getstate() == state
    with pytest.raises(SystemExit):
        main(["knn", str(trained.folder)])
    assert "data.train_path: the images memory:" in capsys.readouterr().err


def test_a_yaml_that_says_its_own_data_and_views_keeps_the_views(tmp_path):
    own = {
        "method": "gaussprob",
        "data": {"dataset": "cifar10", "train_path": "./datasets", "num_workers": 0},
        "augmentations": [{"rrc": {"enabled": True}, "crop_size": 12, "num_crops": 2}],
        **{key: value for key, value in TOY.items() if isinstance(value, dict)},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1, "classifier_lr": 0.1},
    }
    OmegaConf.save(own, tmp_path / "own.yaml")
    given = {"optimizer": {"lr": np.float64(0.05)}, "resolution": np.ones(1)}
    given["output"] = tmp_path / "runs"
    run = solo_ldm.pretrain(tmp_path / "own.yaml", PIXELS, LABELS, epochs=1, **given)
    args = read_json(run.folder / "args.json")
    assert args["data"]["dataset"] == "memory"
    assert args["optimizer"] | {"name": "sgd", "lr": 0.05, "batch_size": 64} == args["optimizer"]
    assert run.results["image_size"] == 12


def test_the_lines_of_the_page_take_an_array_to_features_and_a_score(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "python.md").read_text()
    block, settings = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    few = type(DIGITS)(images=DIGITS.images[:320], target=DIGITS.target[:320])
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: few)
    assert f"# ({len(DIGITS.images)}, " in block
    names: dict[str, Any] = {}
    exec(compile(block, "python.md", "exec"), names)
    exec(compile(settings.replace("epochs=5", "epochs=1"), "python.md", "exec"), names)
    assert names["features"].shape == (320, names["run"].backbone.num_features)
    assert names["run"].report._repr_png_().startswith(b"\x89PNG")
