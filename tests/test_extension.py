"""What is added takes the places that docs/how-to/add.md lists, and nothing else is touched."""

from __future__ import annotations

import json
import math
from textwrap import dedent

import pytest
import torch
from torch import Tensor

from solo_ldm.cli import COMMANDS, main, usage
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.entropy import ENTROPIES, EntropyEstimator
from solo_ldm.evaluation.protocols import PROTOCOLS, Protocol
from solo_ldm.ica import separate
from solo_ldm.latents import LATENTS, LatentModel
from solo_ldm.theorem import Problem, run_trial
from tests.support.toy import toy_config

# Toy runs are too short to leave a collapse.
pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


class LogVariance(EntropyEstimator):
    """Half the mean logarithm of the variances, for which dimensions may be dropped."""

    def __init__(self, support: str = "plane", floor: float = 1e-3) -> None:
        super().__init__(support)  # pyright: ignore[reportArgumentType]
        self.floor = floor

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        return 0.5 * (z.var(dim=0) + self.floor).log().mean()

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        return num_views * dim * (value + 0.5 * math.log(2.0 * math.pi * math.e))


class LaplacePlane(LatentModel):
    """Views differ by Laplace noise."""

    support = "plane"

    def __init__(self, prediction_precision: float = 3.0, power: float = 1.0) -> None:
        super().__init__()
        self.prediction_precision, self.power = prediction_precision, power

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        return -self.prediction_precision * (z1 - z2).abs().pow(self.power).mean(dim=1)


def test_an_estimator_trains_and_takes_its_settings_once_it_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setitem(ENTROPIES, "log_variance", LogVariance)
    cell = ["method_kwargs.entropy=log_variance", "+method_kwargs.floor=0.5"]
    outcome = pretrain(toy_config(tmp_path, *cell))
    assert outcome is not None
    settings = outcome.results["settings"]
    assert settings["entropy"] == "log_variance"
    assert settings["entropy_kwargs"] == {"floor": 0.5}
    assert math.isfinite(outcome.results["final_terms"]["entropy"])


def test_the_same_estimator_serves_ica_and_the_theorem(monkeypatch):
    monkeypatch.setitem(ENTROPIES, "log_variance", LogVariance)
    mixtures = torch.rand(200, 2) @ torch.tensor([[1.0, 0.5], [0.3, 1.0]])
    settings = {"entropy": "log_variance", "entropy_kwargs": {"floor": 1e-6}}
    found = separate(mixtures, unmixing="orthogonal", restarts=1, **settings)
    assert math.isfinite(found.entropy)
    trial = run_trial(Problem("holds"), steps=3, batch_size=32, hidden=8, **settings)
    assert math.isfinite(trial.learned_gap)


def test_a_latent_model_trains_and_takes_its_settings_once_it_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setitem(LATENTS, "laplace", LaplacePlane)
    cell = ["method_kwargs.latent=laplace", "+method_kwargs.power=1.5"]
    outcome = pretrain(toy_config(tmp_path, *cell, name="ldm"))
    assert outcome is not None
    settings = outcome.results["settings"]
    assert (settings["latent"], settings["prediction_precision"]) == ("laplace", 3.0)
    assert settings["latent_kwargs"] == {"power": 1.5}


def test_a_misspelt_setting_of_a_new_estimator_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(ENTROPIES, "log_variance", LogVariance)
    cell = ["method_kwargs.entropy=log_variance", "+method_kwargs.flor=0.5"]
    with pytest.raises(ValueError, match=r"unknown key method_kwargs.flor: did you mean floor\?"):
        pretrain(toy_config(tmp_path, *cell))
    assert not list(tmp_path.iterdir())


_TIME_SERIES = (
    "max_epochs=2",
    "optimizer.batch_size=8",
    "accelerator=cpu",
    "evaluation.report=false",
    "evaluation.kinds=[linear]",
    "output=out",
)


def _train_time_series(tmp_path, monkeypatch, text, *overrides):
    """Train through `solo-ldm predictive` with a YAML of one's own; return results.json."""
    from solo_ldm.cli import main

    (tmp_path / "own.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    own = ("--config-path", str(tmp_path), "--config-name", "own")
    main(["predictive", *own, *_TIME_SERIES, *overrides])
    (results,) = (tmp_path / "out").glob("*/*/results.json")
    return json.loads(results.read_text())


_SINE = """
defaults: [host, {predictor: kalman}, _self_]
data: {dataset: sine, frequency: 2.0}
predictor: {latent_dim: 2}
"""


def test_a_time_series_data_set_trains_once_it_has_a_name(tmp_path, monkeypatch, capsys):
    from predictive.data.registry import DATASETS
    from tests.support.predictive.extension import sine

    monkeypatch.setitem(DATASETS, "sine", sine)
    results = _train_time_series(tmp_path, monkeypatch, _SINE)
    assert (results["dataset"], results["data"]) == ("sine", "sines")
    assert results["settings"]["data"]["frequency"] == 2.0
    assert set(results["results"]["decoding"]) == {"phase"}
    for wrong, words in (("frequenzy=1", "did you mean frequency"), ("frequency=0", "above 0")):
        with pytest.raises(SystemExit):
            _train_time_series(tmp_path, monkeypatch, _SINE, f"data.{wrong}")
        assert words in capsys.readouterr().err


def test_a_predictor_trains_at_rates_of_its_own_once_it_has_a_name(tmp_path, monkeypatch):
    from predictive.predictors import PREDICTORS
    from tests.support.predictive.extension import Persistence

    monkeypatch.setitem(PREDICTORS, "persistence", Persistence)
    text = """
defaults: [host, {data: ornstein_uhlenbeck}, _self_]
method: persistence
data: {num_train: 16, num_held_out: 4, num_steps: 30}
predictor: {latent_dim: 2, initial: 0.25}
optimizer: {multipliers: {memory: 3.0}}
"""
    results = _train_time_series(tmp_path, monkeypatch, text)
    assert results["method"] == "persistence"
    assert results["settings"]["predictor"] == {"latent_dim": 2, "initial": 0.25}
    assert results["settings"]["optimizer"]["multipliers"]["memory"] == 3.0


def test_an_estimator_of_the_registry_trains_time_series_too(tmp_path, monkeypatch):
    from predictive.data.registry import DATASETS
    from tests.support.predictive.extension import sine

    monkeypatch.setitem(ENTROPIES, "log_variance", LogVariance)
    monkeypatch.setitem(DATASETS, "sine", sine)
    settings = ("objective.entropy=log_variance", "objective.entropy_kwargs.floor=0.5")
    results = _train_time_series(tmp_path, monkeypatch, _SINE, *settings)
    assert results["entropy"] == "log_variance"
    assert results["settings"]["objective"]["entropy_kwargs"] == {"floor": 0.5}
    assert math.isfinite(results["final_terms"]["entropy"])


def test_an_image_data_set_trains_and_is_evaluated_with_its_own_views(tmp_path, monkeypatch):
    """One module and one line of the registry; both commands and Hydra's groups follow."""
    from hydra import compose, initialize_config_module

    from solo_ldm.commands.linear import linear
    from solo_ldm.data import DATASETS
    from tests.support.data.stripes import STRIPES

    monkeypatch.setitem(DATASETS, "stripes", STRIPES)
    outcome = pretrain(toy_config(tmp_path, "data=stripes", "data.fraction=-1"))
    assert outcome is not None
    args = json.loads((outcome.folder.path / "args.json").read_text())
    assert args["augmentations"] == STRIPES.views.pretraining
    assert args["data"]["dataset"] == "stripes"
    overrides = [
        f"pretrained_feature_extractor={outcome.folder.path}",
        *("max_epochs=2", "optimizer.batch_size=32", f"checkpoint.dir={tmp_path}"),
    ]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        scored = linear(compose("linear", overrides=overrides))
        patches = compose("ijepa", overrides=["data=stripes"])
    assert scored is not None
    args = json.loads((scored.folder.path / "args.json").read_text())
    assert args["augmentations"] == STRIPES.views.linear
    assert math.isfinite(scored.results["top1"])
    assert patches.augmentations == STRIPES.views.masked["augmentations"]
    assert patches.backbone.kwargs.patch_size == 8


def nearest_centroid(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, temperature: float
) -> Tensor:
    classes = range(int(train_labels.max()) + 1)
    centroids = torch.stack([train_features[train_labels == one].mean(dim=0) for one in classes])
    return (-torch.cdist(test_features, centroids) / temperature).softmax(dim=1)


def test_a_protocol_scores_pretraining_and_weights_once_it_has_a_row(tmp_path, monkeypatch):
    """Its places are its function and a row of the table."""
    ours = Protocol("nearest mean of a class", f"{__name__}:nearest_centroid", {"temperature": 1.0})
    monkeypatch.setitem(PROTOCOLS, "centroid", ours)
    outcome = pretrain(toy_config(tmp_path, "evaluation.protocols=[centroid]"))
    score = outcome.results["results"]["centroid"]
    assert score["settings"] == {"temperature": 1.0}
    assert score["top1"] > 0.3
    main(["linear", str(outcome.folder.path), "protocol=centroid", f"output={tmp_path / 'linear'}"])
    (again,) = (tmp_path / "linear").rglob("results.json")
    assert json.loads(again.read_text())["top1"] == score["top1"]


COMMAND = {
    "__init__.py": """
        '''Count to a number.

            solo-ldm count [last=3]
        '''
        from solo_ldm.config.command import HydraCommand

        count = HydraCommand(run="counting.run:run", schema="counting.schema:CountConfig",
                             default="count", package="counting")
        main = count.main
    """,
    "schema.py": """
        from dataclasses import dataclass
        from solo_ldm.config.schema import number

        @dataclass
        class CountConfig:
            last: int = number(1)
    """,
    "run.py": """
        def run(cfg, console=None):
            print("counted", *range(1, cfg.last + 1))
    """,
    "count.yaml": """
        defaults: [_self_, override hydra/hydra_logging: disabled,
                   override hydra/job_logging: disabled]
        hydra: {output_subdir: null, run: {dir: .}}
        last: 3
    """,
}


def test_a_command_is_a_folder_and_a_row(tmp_path, monkeypatch, capsys):
    (tmp_path / "counting").mkdir()
    for name, text in COMMAND.items():
        (tmp_path / "counting" / name).write_text(dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "count", "counting")
    main(["count", "last=4"])
    assert "counted 1 2 3 4" in capsys.readouterr().out
    assert "solo-ldm count [last=3]\n    Count to a number." in usage()
    main(["count", "--help"])
    assert "Count to a number." in capsys.readouterr().out
    for argument, message in (
        ("lst=4", "unknown key lst: did you mean last?"),
        ("last=0", "from 1"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["count", argument])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
