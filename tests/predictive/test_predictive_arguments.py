"""Configuration keys are checked against the arguments of what they configure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import pytest

from predictive.decoding.online import DecoderConfig
from predictive.encoder import Encoder
from predictive.objective import PredictiveObjective
from predictive.predictors import KalmanPredictor
from solo_ldm.config.arguments import Bounds, Count, Share, check_arguments, checked


def build(
    size: int,
    rate: float = 1.0,
    on: bool = False,
    name: str | None = None,
    kind: Literal["a", "b"] = "a",
    times: Sequence[float] = (1.0,),
    files: str | list[str] = "",
    anything=None,
    share: Share = 0.5,
    sizes: Sequence[Count] = (1,),
    open_share: Annotated[float, Bounds(above=0, below=1)] = 0.5,
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
        ({"size": 3.0}, "data.size: expected a whole number, got 3.0"),
        ({"size": True}, "data.size: expected a whole number, got True"),
        ({"size": None}, "data.size: expected a whole number, got None"),
        ({"size": "3"}, "data.size: expected a whole number, got '3'"),
        ({"size": 3, "rate": "fast"}, "data.rate: expected a number, got 'fast'"),
        ({"size": 3, "rate": True}, "data.rate: expected a number, got True"),
        ({"size": 3, "on": 1}, "data.on: expected true or false, got 1"),
        ({"size": 3, "name": 3}, "data.name: expected a text or null, got 3"),
        ({"size": 3, "times": 1.0}, r"data.times: expected a list of .*, got 1.0"),
        ({"size": 3, "times": ["x"]}, "data.times: expected a list of"),
        ({"size": 3, "times": "1.0"}, "data.times: expected a list of"),
        ({"size": 3, "files": [1]}, "data.files: expected a text or a list of"),
        ({"size": 3, "kind": 1}, "data.kind: expected a or b, got 1"),
        ({"size": 3, "share": 1.5}, "data.share: expected a number from 0 to 1, got 1.5"),
        ({"size": 3, "share": float("nan")}, "data.share: expected a number from 0 to 1, got nan"),
        ({"size": 3, "sizes": [2, 0]}, "data.sizes: expected a list of whole numbers from 1"),
        ({"size": 3, "open_share": 1}, "data.open_share: expected a number above 0 and below 1"),
    ],
)
def test_what_does_not_fit_is_one_line(given, words):
    with pytest.raises(ValueError, match=words) as error:
        check_arguments("data", given, build, ["seed"])
    assert "\n" not in str(error.value)
    assert "typing." not in str(error.value)
    assert "list of a " not in str(error.value)


def test_a_checked_function_refuses_the_same_and_stays_what_it_is():
    guarded = checked(build)
    assert guarded(3, share=1, times=(0.5,)) is None
    for settings, words in (({"share": 2}, "share: expected"), ({"sizes": [0]}, "sizes: expected")):
        with pytest.raises(ValueError, match=words):
            guarded(3, **settings)
    check_arguments("data", {"size": 3, "share": 0.25}, guarded, ["seed"])
    with pytest.raises(ValueError, match=r"data\.share: expected"):
        check_arguments("data", {"size": 3, "share": -1}, guarded, ["seed"])


@pytest.mark.parametrize(
    ("target", "given", "words"),
    [
        (Encoder, {"hiden_dim": 3}, r"unknown key part.hiden_dim: did you mean hidden_dim\?"),
        (Encoder, {"self": 3}, "unknown key part.self"),
        (
            KalmanPredictor,
            {"latent_dim": 2, "max_radius": "big"},
            "max_radius: expected a number above 0",
        ),
        (KalmanPredictor, {}, "missing key part.latent_dim"),
        (PredictiveObjective, {"entropy_kwarg": {}}, r"did you mean entropy_kwargs\?"),
        (
            PredictiveObjective,
            {"entropy_kwargs": 3},
            "part.entropy_kwargs: expected a mapping or null",
        ),
        (PredictiveObjective, {"over": 1}, "part.over: expected"),
        (DecoderConfig, {"sorce": "states"}, r"did you mean source\?"),
        (DecoderConfig, {"lr": None}, "part.lr: expected a number from 0, got None"),
    ],
)
def test_the_parts_of_a_method_name_their_arguments(target, given, words):
    with pytest.raises(ValueError, match=words) as error:
        check_arguments("part", given, target, ["input_dim"] if target is Encoder else [])
    assert "\n" not in str(error.value)
