"""Configuration keys are checked against the arguments of what they configure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from predictive.decoding.online import DecoderConfig
from predictive.encoder import Encoder
from predictive.objective import PredictiveObjective
from predictive.predictors import KalmanPredictor
from solo_ldm.config.arguments import check_arguments


def build(
    size: int,
    rate: float = 1.0,
    on: bool = False,
    name: str | None = None,
    kind: Literal["a", "b"] = "a",
    times: Sequence[float] = (1.0,),
    files: str | list[str] = "",
    anything=None,
    seed: int = 0,
):
    """What a configuration builds."""


RIGHT = [
    {"size": 3},
    {"size": 3, "rate": 2},
    {"size": 3, "rate": 2.5, "on": True, "name": "x", "kind": "b"},
    {"size": 3, "name": None, "times": [1, 2.0], "files": ["a", "b"], "anything": object()},
    {"size": 3, "files": "a", "times": []},
]


@pytest.mark.parametrize("given", RIGHT)
def test_what_fits_is_accepted(given):
    check_arguments("data", given, build, ["seed"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "missing key data.size: set it in the YAML or the command line"),
        ({"size": 3, "rat": 1.0}, r"unknown key data.rat: did you mean rate\?: data takes size"),
        ({"size": 3, "tmies": [1.0]}, r"unknown key data.tmies: did you mean times\?"),
        ({"size": 3, "zzz": 1}, "unknown key data.zzz: data takes size, rate"),
        ({"size": 3, "seed": 1}, "unknown key data.seed"),
        ({"size": 3.0}, "data.size expects a whole number, got 3.0"),
        ({"size": True}, "data.size expects a whole number, got True"),
        ({"size": None}, "data.size expects a whole number, got None"),
        ({"size": "3"}, "data.size expects a whole number, got '3'"),
        ({"size": 3, "rate": "fast"}, "data.rate expects a number, got 'fast'"),
        ({"size": 3, "rate": True}, "data.rate expects a number, got True"),
        ({"size": 3, "on": 1}, "data.on expects true or false, got 1"),
        ({"size": 3, "name": 3}, "data.name expects a text or null, got 3"),
        ({"size": 3, "times": 1.0}, r"data.times expects a list of .*, got 1.0"),
        ({"size": 3, "times": ["x"]}, "data.times expects a list of"),
        ({"size": 3, "times": "1.0"}, "data.times expects a list of"),
        ({"size": 3, "files": [1]}, "data.files expects a text or a list of"),
        ({"size": 3, "kind": 1}, "data.kind expects"),
    ],
)
def test_what_does_not_fit_is_one_line(given, words):
    with pytest.raises(ValueError, match=words) as error:
        check_arguments("data", given, build, ["seed"])
    assert "\n" not in str(error.value)
    assert "typing." not in str(error.value)
    assert "list of a " not in str(error.value)


@pytest.mark.parametrize(
    ("target", "given", "words"),
    [
        (Encoder, {"hiden_dim": 3}, r"unknown key part.hiden_dim: did you mean hidden_dim\?"),
        (Encoder, {"self": 3}, "unknown key part.self"),
        (KalmanPredictor, {"latent_dim": 2, "max_radius": "big"}, "max_radius expects a number"),
        (KalmanPredictor, {}, "missing key part.latent_dim"),
        (PredictiveObjective, {"num_neighbors": 3}, r"did you mean num_neighbours\?"),
        (PredictiveObjective, {"ridge": "x"}, "part.ridge expects a number or null"),
        (PredictiveObjective, {"over": 1}, "part.over expects"),
        (DecoderConfig, {"sorce": "states"}, r"did you mean source\?"),
        (DecoderConfig, {"lr": None}, "part.lr expects a number, got None"),
    ],
)
def test_the_parts_of_a_method_name_their_arguments(target, given, words):
    with pytest.raises(ValueError, match=words) as error:
        check_arguments("part", given, target, ["input_dim"] if target is Encoder else [])
    assert "\n" not in str(error.value)
