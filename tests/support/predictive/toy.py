"""A tiny predictive method and random data for it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from predictive.configuration import complete_predictive
from predictive.data.sequences import Segment, Sequences, pad
from predictive.method import PredictiveMethod
from predictive.training import for_method

FEATURES = 4
TARGETS = {"place": 2, "speed": 1}
SMALL = {
    "figure8": [
        "predictor.latent_dim=2",
        "predictor.state_dim=3",
        "predictor.noise_hidden_dim=8",
        "encoder.hidden_dim=8",
        "~decoders.position",
        "~decoders.frames",
        "+decoders.place={source: states}",
        "+decoders.rough={source: latents, target: speed, kind: mlp, hidden_dim: 5}",
        "+decoders.inputs={source: predictions}",
    ],
    "nonlinear_system": [
        "encoder.hidden_dim=8",
        "~decoders.position",
        "+decoders.place={source: latents}",
    ],
}


def method_config(*overrides: str, name: str = "figure8") -> DictConfig:
    """The configuration as the method reads it, of a batch of 256, so that rates stay as given."""
    with initialize_config_module("predictive.configs", version_base="1.3"):
        cfg = compose(name, overrides=[*SMALL[name], "optimizer.batch_size=256", *overrides])
    return for_method(complete_predictive(cfg), SimpleNamespace(num_processes=1))


def tiny_method(*overrides: str, name: str = "figure8") -> PredictiveMethod:
    """A method for the data below."""
    return PredictiveMethod(method_config(*overrides, name=name), FEATURES, TARGETS)


def random_data(lengths: list[int]) -> Sequences:
    """Noise, with targets that are partly unknown: a bin as a whole, and one dimension alone."""
    made = []
    for n in lengths:
        x = torch.randn(n, FEATURES)
        place = 3.0 * torch.tanh(x[:, :2]) + torch.tensor([5.0, -1.0])
        place[torch.rand(n) < 0.2] = torch.nan
        place[torch.rand(n) < 0.2, 1] = torch.nan
        made.append(Segment(x, {"place": place, "speed": x[:, 3:] ** 2}))
    return pad(made)
