"""Bounds of numbers, kinds of values and sizes: what is refused, and in which words."""

from __future__ import annotations

import math
from typing import Annotated

import pytest

from solo_ldm.config.arguments import Bounds, Count, Positive, Rate, Seed, Width, check_value
from solo_ldm.config.memory import check_layers, check_memory
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.optim.optimizers import check_optimizer
from tests.support.overrides.drawn import Base, Case
from tests.support.overrides.tried import complete

INFINITE = Annotated[float, Bounds(1, also=math.inf)]


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (math.nan, Positive, "a number above 0, got nan"),
        (1e9, Positive, "a number above 0 and below 1000000000, got 1000000000.0"),
        (10**400, Positive, "a number above 0 and below 1000000000, got 1000"),
        (-1e20, Annotated[float, Bounds()], "a number, got -1e+20"),
        (1e-30, Positive, "a number from 1e-20, got 1e-30"),
        (-0.001, Rate, "a number from 0, got -0.001"),
        (10_000, Rate, "a number from 0 and below 10000, got 10000"),
        (-1, Seed, "a whole number from 0, got -1"),
        (2**32, Seed, "a whole number from 0 and below 4294967296, got 4294967296"),
        (1e9, Width, "a whole number from 1 and below 1048576, got 1000000000.0"),
        (2**31, Count, "a whole number from 1 and below 1000000000, got 2147483648"),
        (math.inf, float, "a number, got inf"),
        (0.5, INFINITE, "a number from 1 or inf, got 0.5"),
        ("x" * 5000, Positive, "a number above 0, got 'xxx"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused_with_its_limits(value, hint, words):
    with pytest.raises(ValueError, match=r"^key: ") as error:
        check_value("key", value, hint)
    assert str(error.value).startswith(f"key: expected {words}")
    assert len(str(error.value)) < 300


def test_sensible_extremes_are_accepted():
    for value, hint in (
        *((value, Positive) for value in (1e-12, 9e8, 3)),
        *((value, Rate) for value in (0, 1e-15, 1000.0)),
        *((value, Seed) for value in (0, 2**32 - 1)),
        *((value, INFINITE) for value in (1, math.inf)),
    ):
        check_value("key", value, hint)


def test_sizes_beyond_the_memory_are_refused_before_anything_is_allocated():
    check_memory("data.num_cells", 1000, 1000, remedy="lower it")
    with pytest.raises(ValueError, match=r"^data\.num_cells: expected what fits .* GiB; lower it$"):
        check_memory("data.num_cells", 1e9, 1e9, remedy="lower it")
    check_layers([512, 2048, 2048, 128])
    with pytest.raises(ValueError, match=r"layers of 512, 1000000, 1000000, 128 units: .*_dim"):
        check_layers([512, 10**6, 10**6, 128])


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_neighbours": 0},  # of an entropy that the cell does not use, as the next five
        {"clip_quantile": 2.0},
        {"norm": 0.5},
        {"leave_one_out": "false"},
        {"match_probability": 1.0},
        {"covariance": "whole"},
        {"final_tau": math.nan},
        {"proj_hidden_dim": 1e-30},
        {"proj_hidden_dim": 1e9},
        {"proj_output_dim": -0.5},
        {"proj_layers": 10**6},
        {"kernel_precision": [1, 2]},
        {"prediction_precision": {"a": 1}},
        {"entropy_weight": math.inf},
        {"blocks": 3},
    ],
)
def test_every_value_of_method_kwargs_is_checked_whether_the_cell_uses_it_or_not(wrong):
    sizes = {"proj_hidden_dim": 8, "proj_output_dim": 8}
    with pytest.raises(ValueError, match=rf"^method_kwargs\.{next(iter(wrong))}: expected"):
        resolve({"latent": "plane", "entropy": "kernel", **sizes, **wrong})


def test_arguments_of_optimisers_are_tried_before_a_run_has_a_folder():
    for name, kwargs in (
        ("lars", {"exclude_bias_n_norm": "false"}),
        ("lars", {"momentum": math.nan}),
        ("lars", {"eta": -1.0}),
        ("sgd", {"momentum": 1.5}),
        ("sgd", {"nesterov": True, "momentum": 0.0}),
        ("adamw", {"betas": [0.9, 1.0]}),
        ("adamw", {"betas": [0.9]}),
        ("adam", {"eps": -1e-8}),
    ):
        with pytest.raises(ValueError, match=r"optimizer\.kwargs") as error:
            check_optimizer(name, kwargs)
        assert "\n" not in str(error.value)
    check_optimizer("sgd", {"nesterov": True})  # with the momentum that is the default
    assert check_optimizer("lars", {"exclude_bias_n_norm": True, "eta": 0.02})[1] is True


GAUSSPROB, FIGURE8 = Base("pretrain", "gaussprob"), Base("predictive", "figure8")
PLACE_CELLS, LINEAR = (
    Base("predictive", "place_cells"),
    Base("linear", "linear", ("pretrained_feature_extractor=.", "data=digits")),
)
KNN = Base("knn", "knn", ("pretrained_feature_extractor=.",))


@pytest.mark.parametrize(
    ("base", "key", "value"),
    [
        *((GAUSSPROB, key, value) for key, value in (
            ("optimizer.lr", "-1"),
            ("optimizer.classifier_lr", "inf"),
            ("optimizer.weight_decay", "1e9"),
            ("scheduler.min_lr", "-0.001"),
            ("scheduler.warmup_start_lr", "inf"),
            ("scheduler.lr_decay_steps", "[-1]"),
            ("health.num_samples", "-1"),
            ("seed", "-1"),
            ("augmentations", "[1,2]"),
            ("wandb.enabled", "2147483648"),
            ("scheduler", "[1,2]"),
            ("data", "0"),
            ("name", "x" * 300),
        )),
        *((FIGURE8, key, value) for key, value in (
            ("decoders.position.lr", "inf"),
            ("decoders.position.lr", "1e20"),
            ("optimizer.multipliers.filter", "nan"),
            ("optimizer.multipliers.encoder", "[1]"),
            ("objective.weight", "1e9"),
            ("predictor.initial_transition", "nan"),
            ("optimizer.kwargs.betas", "[2,2]"),
        )),
        (PLACE_CELLS, "data.num_cells", "2147483648"),
        (PLACE_CELLS, "data.running_speed", "1e20"),
        (LINEAR, "optimizer.weight_decay", "-1"),
        (LINEAR, "optimizer.backbone_lr_scale", "nan"),
        (LINEAR, "data.augmentations.std", "[nan]"),
        (LINEAR, "seeds", "[-1]"),
        (KNN, "temperature", "[inf]"),
        (KNN, "augmentations", "3"),
        (KNN, "data.dataset", "digit"),
        (Base("ica", "ica"), "generalised_gaussian.num_samples", "-1"),
        (Base("ica", "ica"), "ornstein_uhlenbeck.variances", "[nan]"),
        (Base("theorem", "theorem"), "entropy_kwargs.num_neighbours", "0"),
        (Base("compare", "compare"), "seeds", "[4294967296]"),
    ],
)  # fmt: skip
def test_a_senseless_value_is_a_line_that_begins_with_its_key(base, key, value):
    found = complete(Case(base, key, value))
    assert not found.accepted
    assert "\n" not in found.words
    # Of a list of views or of arguments of an optimiser, the key as a whole may be named.
    begin = key.rpartition(".")[0] if "kwargs" in key else key
    assert found.words.startswith(begin), found.words
