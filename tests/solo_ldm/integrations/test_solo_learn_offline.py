"""What holds of the integration with solo-learn where solo-learn is not installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from solo_ldm.integrations import solo_learn
from solo_ldm.integrations.hosted import HostedMethod
from solo_ldm.integrations.recipes import RECIPES, default_settings
from solo_ldm.integrations.translation import for_linear, for_pretraining
from solo_ldm.run.configuration import RunConfig
from tests.support.processes import forget, run_child
from tests.support.toy import toy_config

ABSENT = r"^solo-learn is not importable: run in a checkout .* SOLO_LEARN=FOLDER$"


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """Hide a solo-learn that is installed, and forget one that was found."""
    solo_learn._modules.cache_clear()
    monkeypatch.delenv("SOLO_LEARN", raising=False)
    monkeypatch.setattr(
        sys, "path", [path for path in sys.path if not (Path(path) / "solo").is_dir()]
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "solo"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    yield
    solo_learn._modules.cache_clear()


def composed(*overrides: str, name: str = "gaussprob"):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose(name, overrides=list(overrides))
    OmegaConf.set_struct(cfg, False)
    return cfg


def for_custom(folder: Path, *overrides: str):
    paths = ["data=custom", f"data.train_path={folder}", "augmentations=cifar"]
    return composed(*paths, "accelerator=cpu", *overrides)


def import_the_integration() -> None:
    forget("solo_ldm", "solo")
    importlib.import_module("solo_ldm.integrations.solo_learn")
    assert "solo" not in sys.modules


def test_importing_the_integration_imports_nothing_of_solo_learn():
    ended = run_child(import_the_integration)
    assert ended.code == 0, ended.printed


@pytest.mark.parametrize("use", [solo_learn.register, lambda: solo_learn.find("byol")])
def test_without_solo_learn_there_is_one_line(use):
    with pytest.raises(ValueError, match=ABSENT):
        use()


def test_a_folder_that_happens_to_be_called_solo_is_not_solo_learn(tmp_path, monkeypatch):
    (tmp_path / "solo" / "byol").mkdir(parents=True)  # as the runs of method=solo/byol leave
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=ABSENT):
        solo_learn.register()


def test_another_solo_learn_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "__init__.py").touch()
    monkeypatch.setenv("SOLO_LEARN", str(tmp_path))
    with pytest.raises(ValueError, match=r"solo/__init__.py does not fit: it lacks solo.methods .* "
                       r"what fits is version 1.0.6, commit 9187ea3"):  # fmt: skip
        solo_learn.register()


def test_an_unknown_method_is_told_with_its_nearest():
    with pytest.raises(ValueError, match=r"^method: expected solo/.* did you mean solo/byol\?"):
        solo_learn.find("boyl")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a script of solo-learn, got nothing; usage, in a checkout of solo-learn"),
        (["--config-name", "x"], "expected a script of solo-learn, got --config-name"),
        (["main_pretrain.py"], "no main_pretrain.py in "),
    ],
)
def test_the_runner_without_a_script_says_how_it_is_used(arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        solo_learn.main(arguments)
    shown = capsys.readouterr().err
    assert left.value.code == 2
    assert shown.startswith(f"error: {message}")
    assert "usage, in a checkout of solo-learn: python -m solo_ldm.integrations.solo_learn" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(("devices", "told"), [(1, "1"), ([0], "1"), (3, "003"), ("auto", "1")])
def test_cpu_processes_are_as_many_by_length_as_by_number(tmp_path, devices, told):
    cfg = for_custom(tmp_path, "strategy=ddp", "precision=16-mixed", "sync_batchnorm=true")
    cfg.devices = devices
    for_pretraining(cfg, ours=True)
    assert cfg.devices == told
    assert int(cfg.devices) == len(cfg.devices)
    assert (cfg.precision, cfg.sync_batchnorm) == ("32-true", False)
    assert cfg.strategy == ("auto" if told == "1" else "ddp")


def test_gpus_are_a_list():
    cfg = composed("data=cifar10", "accelerator=gpu", "devices=2", "precision=16-mixed")
    for_pretraining(cfg, ours=True)
    assert (cfg.devices, cfg.precision) == ([0, 1], "16-mixed")


def test_our_keys_become_solo_learns(tmp_path):
    cfg = for_custom(tmp_path, "+trainer.limit_train_batches=3", "data.dataset=image_folder")
    for_pretraining(cfg, ours=True)
    assert cfg.name == "gaussprob-image_folder"
    assert (cfg.data.dataset, cfg.data.format) == ("custom", "image_folder")
    assert cfg.auto_resume.max_hours == 36
    assert cfg.limit_train_batches == 3
    cfg = composed("data=cifar10", "data.train_path=here", "accelerator=cpu")
    for_pretraining(cfg, ours=True)
    assert cfg.data.val_path == "here"


def test_operators_that_a_view_leaves_out_or_disables_are_off_under_solo_learn(tmp_path):
    cfg = for_custom(tmp_path)
    cfg.augmentations[0].gaussian_blur = {"enabled": False, "prob": 0.5}
    del cfg.augmentations[0].grayscale
    for_pretraining(cfg, ours=True)
    view = cfg.augmentations[0]
    assert (view.gaussian_blur.prob, view.grayscale.prob) == (0.0, 0.0)
    assert (view.color_jitter.prob, view.rrc.enabled) == (0.8, True)


def test_a_configuration_written_for_solo_learn_keeps_its_views(tmp_path):
    cfg = for_custom(tmp_path)
    cfg.augmentations[0].solarization.enabled = False  # solo-learn reads the probability alone
    for_pretraining(cfg, ours=False)
    assert cfg.augmentations[0].solarization.prob == 0.1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=digits"], r"^data.dataset=digits: solo-learn has cifar10, .* data=custom"),
        (["data=custom"], r"^missing key data.train_path"),
        (["data=cifar10", "augmentations=digits"], r"^augmentations\[0\].affine: "),
        (["data=cifar10", "data.pair_match=0.9"], r"^data.pair_match: expected null"),
        (["data=cifar10", "augmentations.0.num_crops=3"], r"two large crops for solo-.*, got 3$"),
        (["data=cifar10", "+augmentations.0.gaussian_blur.sigma_max=1", "augmentations.0."
          "gaussian_blur.enabled=true", "augmentations.0.gaussian_blur.prob=1"],
         r"^unknown key augmentations\[0\].gaussian_blur.sigma_max: .* takes prob$"),
    ],
)  # fmt: skip
def test_what_solo_learn_has_no_place_for_is_one_line(overrides, message):
    with pytest.raises(ValueError, match=message):
        for_pretraining(composed(*overrides, "accelerator=cpu"), ours=True)


def test_masked_blocks_are_not_for_solo_learn():
    cfg = composed("data=custom", "data.train_path=images", name="ijepa")
    with pytest.raises(ValueError, match="method: expected one of two views, as solo-"):
        solo_learn._for_pretraining(cfg)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "missing key pretrained_feature_extractor"),
        (["pretrained_feature_extractor=nowhere"], "solo-learn reads .ckpt, .pth, .pt; give one"),
        (
            ["pretrained_feature_extractor=x", "optimizer.lr=[1,2]"],
            "^optimizer.lr: solo-learn needs",
        ),
    ],
)
def test_a_linear_evaluation_that_solo_learn_cannot_do_is_one_line(tmp_path, overrides, message):
    given = [
        "data=custom",
        f"data.train_path={tmp_path}",
        "optimizer.batch_size=8",
        "optimizer.lr=1",
    ]
    for label in range(5):
        (tmp_path / str(label)).mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        for_linear(composed(*given, *overrides, name="linear"))


def test_solo_yaml_lists_every_key_that_a_method_of_solo_learn_has():
    cfg = composed(name="solo")
    assert set(cfg.method_kwargs) == {key for one in RECIPES.values() for key in one.kwargs}
    assert set(cfg.method_kwargs.values()) == {None}


def described(name: str, *overrides: str):
    method = type(name, (HostedMethod,), {"solo_name": name})
    return method.describe(composed(*overrides, name="solo"))


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "mae"])
def test_left_out_settings_are_the_published_ones_but_smaller_on_digits(name):
    assert described(name, "data=cifar10").settings == RECIPES[name].kwargs
    small = described(name, "method_kwargs.proj_output_dim=16").settings
    assert small == {**default_settings(name, "digits"), "proj_output_dim": 16}
    assert small["proj_hidden_dim"] == 512


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("byol", ["method_kwargs.temperature=1"], r"^unknown key method_kwargs.temperature"),
        ("byol", ["momentum.base_tau=1.5"], r"^momentum.base_tau: expected a number from 0 to 1"),
        ("byol", ["+momentum.basetau=1"], r"^unknown key momentum.basetau: did you mean base_tau"),
        ("nnclr", ["optimizer.batch_size=100"], r"^method_kwargs.queue_size: expected a mul"),
        ("wmse", ["optimizer.batch_size=64"], r"^optimizer.batch_size: expected a multi"),
        ("wmse", ["method_kwargs.whitening_size=64"], r"whitening_size: expected more than proj"),
        ("mae", [], r"^backbone.name: expected vit_tiny, .* got 'convnet_small'"),
        ("mae", ["backbone.name=vit_tiny"], r"expected the 12 of solo-learn's vit_tiny"),
    ],
)  # fmt: skip
def test_settings_that_a_method_of_solo_learn_cannot_use_are_one_line(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        described(name, *overrides)


def test_the_keys_of_another_method_are_unknown_to_one_of_solo_learns(tmp_path):
    method = type("byol", (HostedMethod,), {"solo_name": "byol"})
    with pytest.raises(ValueError, match=r"unknown key method_kwargs\.latent: method_kwargs takes"):
        method.describe(toy_config(tmp_path))


def test_the_schema_has_the_keys_of_solo_learn():
    assert {"momentum", "published"} <= set(RunConfig.__dataclass_fields__)
