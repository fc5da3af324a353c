"""Settings of the predictive objective: its estimators and what is refused."""

from __future__ import annotations

import pytest
import torch

from predictive.objective import PredictiveObjective
from solo_ldm.entropy import ENTROPIES
from tests.support.predictive.filtering_models import close
from tests.support.predictive.forecasts import AT_ITS_OWN_SCALE, IN_NATS, padded, random_forecast


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"entropy": "knn"},
            "objective.entropy: expected one of stop_gradient, kernel, logistic, neighbour",
        ),
        ({"entropy": "plug_in"}, "expected one of .*, got 'plug_in'"),
        ({"over": "pooled"}, "over: expected marginal or joint, got 'pooled'"),
        ({"entropy": "vicreg", "over": "joint"}, "over: expected marginal for entropy=vicreg"),
        ({"weight": -0.1}, "weight: expected a number from 0, got -0.1"),
        ({"num_samples": 7}, "num_samples: expected a whole number from 8, got 7"),
        ({"first_step": -1}, "first_step: expected a whole number from 0, got -1"),
        ({"entropy_kwargs": {"norm": 2.0}}, "entropy_kwargs: expected none for entropy=stop"),
        ({"entropy": "contrastive", "entropy_kwargs": {"norm": 2.0}}, "entropy=contrastive"),
        (
            {"entropy": "kernel", "entropy_kwargs": {"ridge": 1e-6}},
            "unknown key objective.entropy_kwargs.ridge.* takes kernel_precision",
        ),
        (
            {"entropy": "neighbour", "entropy_kwargs": {"num_neighbors": 3}},
            r"did you mean num_neighbours\?",
        ),
        (
            {"entropy": "neighbour", "entropy_kwargs": {"num_neighbours": 0}},
            "num_neighbours: expected a whole number from 1",
        ),
        ({"entropy": "logdet", "entropy_kwargs": {"ridge": 0.0}}, "ridge"),
    ],
)
def test_wrong_settings_are_one_line(settings, words):
    with pytest.raises(ValueError, match=words) as error:
        PredictiveObjective(**settings)
    assert "\n" not in str(error.value)


def test_too_few_latents_are_one_line():
    forecast = random_forecast(samples=1, steps=3)
    with pytest.raises(ValueError, match="needs at least 4 samples") as error:
        PredictiveObjective("neighbour")(forecast)
    assert "\n" not in str(error.value)


def test_an_estimate_of_the_stop_gradient_is_refused():
    with pytest.raises(ValueError, match="has no estimator"):
        PredictiveObjective().estimate(random_forecast(), padded())


@pytest.mark.parametrize(
    ("entropy", "settings"),
    [
        ("neighbour", {"num_neighbours": 5}),
        ("neighbour", {"norm": 1.0}),
        ("neighbour", {"clip_quantile": 0.5}),
        ("kernel", {"kernel_precision": 1.0}),
        ("logdet", {"ridge": 1.0}),
        ("logdet_expansion", {"ridge": 1.0}),
        ("coding_rate", {"distortion": 0.1}),
        ("vicreg", {"variance_weight": 1.0}),
    ],
)
def test_settings_reach_their_estimator_and_null_is_its_default(entropy, settings):
    forecast, known = random_forecast(), padded()

    def estimate(given):
        return PredictiveObjective(entropy, entropy_kwargs=given).estimate(forecast, known)

    assert not torch.allclose(estimate(None), estimate(settings))
    close(estimate(dict.fromkeys(settings)), estimate(None), atol=0)


def test_every_estimator_of_the_registry_for_the_plane_is_an_entropy():
    on_plane = {name for name, one in ENTROPIES.items() if "plane" in one.supports}
    assert on_plane == {*IN_NATS, *AT_ITS_OWN_SCALE, "none"}
    for name in on_plane:
        terms = PredictiveObjective(name)(random_forecast())
        assert terms.loss.isfinite()
        assert (terms.entropy == 0.0) == (name == "none")


@pytest.mark.parametrize("entropy", AT_ITS_OWN_SCALE)
def test_an_estimator_without_a_value_in_nats_enters_at_its_own_scale(entropy):
    forecast = random_forecast()
    bins = forecast.latents.flatten(0, 1)
    close(
        PredictiveObjective(entropy)(forecast).entropy, ENTROPIES[entropy]("plane").marginal(bins)
    )


def test_an_estimator_that_draws_at_random_draws_anew_each_step():
    forecast, objective = random_forecast(), PredictiveObjective("sliced")
    found = []
    for step in (0, 0, 1):
        objective.at_step(step)
        found.append(objective(forecast).entropy)
    assert found[0] == found[1] != found[2]
