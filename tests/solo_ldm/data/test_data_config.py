from importlib.resources import files

import pytest
import yaml
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import OmegaConf

from solo_ldm.data import DATASETS, DataConfig, parse_augmentations
from solo_ldm.data.config import ViewSpec, check_data_config
from solo_ldm.data.module import ImageDataModule

CONFIGS = files("solo_ldm.configs")
AUGMENTATIONS = [one.name.removesuffix(".yaml") for one in (CONFIGS / "augmentations").iterdir()]
VIEW = {"crop_size": 32, "num_crops": 2}


def view(**operators):
    return [{**VIEW, **operators}]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_yaml_parses(name):
    views = parse_augmentations(
        yaml.safe_load((CONFIGS / "augmentations" / f"{name}.yaml").read_text())
    )
    assert sum(view.num_crops for view in views) == (1 if name == "captions" else 2)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_hydra_composes_a_list_of_views_from_the_group(name):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        config = compose(overrides=[f"+augmentations={name}"])
    expected = yaml.safe_load((CONFIGS / "augmentations" / f"{name}.yaml").read_text())
    assert parse_augmentations(config.augmentations) == parse_augmentations(expected)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_yaml_fits_the_schema_and_brings_its_views(name):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        config = compose(overrides=[f"+data={name}", "++data.train_path=somewhere"])
    data = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), config.data))
    assert isinstance(data, DataConfig)
    check_data_config(data)
    assert data.dataset in DATASETS
    assert parse_augmentations(config.augmentations)


def test_solo_learns_schema_and_the_references_enabled_keys_are_read():
    (spec,) = parse_augmentations(
        view(
            rrc={"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 0.9},
            color_jitter={"enabled": True, "prob": 0.8, "brightness": 0.4, "hue": 0.1},
            grayscale={"prob": 0.2},
            solarization={"enabled": False, "prob": 0.1},
            horizontal_flip={"prob": 0.5},
        )
    )
    assert (spec.rrc.crop_min_scale, spec.rrc.crop_max_scale) == (0.2, 0.9)
    assert (spec.color_jitter.prob, spec.color_jitter.hue) == (0.8, 0.1)
    assert spec.grayscale.prob == 0.2
    assert spec.solarization.prob == 0
    assert spec.gaussian_blur.prob == 0
    assert spec.affine.prob == 0


def test_crops_of_the_first_size_are_large():
    crops = ((32, 1), (32, 1), (18, 6))
    views = [{"crop_size": size, "num_crops": count} for size, count in crops]
    data = ImageDataModule(DataConfig(dataset="digits"), views, batch_size=1)
    assert (data.num_large_crops, data.num_small_crops) == (2, 6)


def test_one_mean_stands_for_all_channels():
    data = ImageDataModule(DataConfig(dataset="digits"), view(mean=0.5, std=[0.1, 0.2, 0.3]), 1)
    assert data.mean == (0.5, 0.5, 0.5)
    assert data.std == (0.1, 0.2, 0.3)


def test_view_specs_pass_through():
    spec = ViewSpec(crop_size=8, num_crops=1)
    assert parse_augmentations([spec]) == (spec,)


@pytest.mark.parametrize(
    ("views", "words"),
    [
        (view(color_jiter={"prob": 0.5}), ["augmentations[0].color_jiter", "color_jitter"]),
        (view(rrc={"enabled": True, "min_scale": 0.1}), ["rrc.min_scale", "unknown"]),
        (view(grayscale={"prob": 1.5}), ["grayscale.prob: expected a number from 0 to 1, got 1.5"]),
        (
            view(grayscale={"enabled": True}),
            ["grayscale.prob: expected a probability"],
        ),
        (view(grayscale={"prob": "often"}), ["grayscale.prob", "often"]),
        (view(grayscale=0.2), ["grayscale", "mapping"]),
        (
            view(color_jitter={"prob": 1, "hue": 0.7}),
            ["hue: expected a number from 0 to 0.5"],
        ),
        (view(rrc={"enabled": "yes"}), ["rrc.enabled: expected true or false, got 'yes'"]),
        (
            view(rrc={"enabled": True, "crop_min_scale": 0.9, "crop_max_scale": 0.5}),
            ["rrc", "crop_min_scale <= crop_max_scale", "0.9 > 0.5"],
        ),
        (view(std=0.0), ["std", "0"]),
        (view(mean=[]), ["mean", "one a channel"]),
        ([{"crop_size": 32}], ["num_crops", "missing"]),
        ([{"crop_size": 0, "num_crops": 1}], ["crop_size: expected a whole number from 1, got 0"]),
        (
            [{"crop_size": 3.5, "num_crops": 1}],
            ["crop_size: expected a whole number"],
        ),
        ([], ["at least one view"]),
        ({"crop_size": 32}, ["list of views"]),
        ([None], ["augmentations[0]: expected a mapping, got None"]),
    ],
)
def test_a_wrong_augmentation_is_one_clear_line(views, words):
    with pytest.raises(ValueError, match="augmentations") as caught:
        parse_augmentations(views)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"device": "tpu"}, "data.device"),
        ({"format": "torchvison"}, "torchvision"),
        ({"fraction": 1.5}, "data.fraction"),
        ({"fraction": 0.0}, "data.fraction"),
        ({"val_fraction": 1.0}, "data.val_fraction"),
        ({"num_workers": -1}, "data.num_workers"),
    ],
)
def test_a_wrong_data_value_is_one_clear_line(changes, word):
    with pytest.raises(ValueError, match="data") as caught:
        check_data_config(DataConfig(dataset="digits", **changes))
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_crops_of_linear_offline_keep_most_of_the_image():
    """solo-learn's, which a group of that name has, go down to 0.08 of it."""
    scales = {}
    for chosen in ("cifar", "solo_learn"):
        group = f"linear_augmentations@augmentations={chosen}"
        with initialize_config_module("solo_ldm.configs", version_base="1.3"):
            cfg = compose("linear", overrides=["data=cifar10", group])
        scales[chosen] = parse_augmentations(cfg.augmentations)[0].rrc.crop_min_scale
    assert scales == {"cifar": 0.8, "solo_learn": 0.08}


def test_files_of_a_users_own_shadow_those_that_the_data_sets_bring(tmp_path):
    (tmp_path / "augmentations").mkdir()
    (tmp_path / "augmentations" / "cifar.yaml").write_text("- {crop_size: 20, num_crops: 2}\n")
    (tmp_path / "run.yaml").write_text("defaults: [gaussprob, _self_]\n")
    search = "hydra.searchpath=[pkg://solo_ldm.configs]"
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        sizes = [
            compose("run", overrides=[search, f"data={name}"]).augmentations[0].crop_size
            for name in ("cifar10", "stl10")
        ]
    assert sizes == [20, 96]


def test_the_groups_hold_files_and_what_the_data_sets_bring():
    names = {one.name for one in (CONFIGS / "linear_augmentations").iterdir()}
    assert {"light.yaml", "cifar.yaml"} <= names
    assert CONFIGS.joinpath("masked/imagenet_symmetric.yaml").is_file()
    assert CONFIGS.joinpath("masked", "digits.yaml").is_file()
    assert not CONFIGS.joinpath("masked/nowhere.yaml").is_file()
    assert CONFIGS.joinpath("masked").is_dir()
    with CONFIGS.joinpath("masked/digits.yaml").open("rb") as file:
        assert file.read().startswith(b"# @package _global_")
