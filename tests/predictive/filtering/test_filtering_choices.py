"""Which computation is chosen, what is checked, and draws from the equations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from predictive.filtering import (
    Full,
    StateSpaceModel,
    kalman_filter,
    kalman_smoother,
    sample_model,
    sample_posterior,
)
from predictive.filtering.preparation import is_parallel
from predictive.filtering.recursions import cholesky
from tests.support.predictive.filtering_models import (
    LATENTS,
    SAMPLES,
    STATES,
    STEPS,
    close,
    data,
    random_model,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_scans_are_chosen_off_the_cpu_and_for_one_small_recursion():
    asked = [is_parallel(method, 8, 4, CPU) for method in ("sequential", "parallel", "auto")]
    assert asked == [False, True, False]
    assert not is_parallel("sequential", 1, 4, GPU)
    assert is_parallel("auto", 1, 2, CPU)
    assert not is_parallel("auto", 1, 16, CPU)
    assert is_parallel("auto", 8, 48, GPU)


def test_many_states_with_a_missing_bin_are_filtered_in_a_loop(monkeypatch):
    n = 60
    model = StateSpaceModel(
        torch.zeros(n), torch.eye(n), 0.9 * torch.eye(n), torch.zeros(n), torch.eye(2, n),
        torch.ones(n), torch.ones(2),
    )  # fmt: skip
    z, mask = torch.zeros(1, 5, 2), torch.tensor([[True, True, False, True, True]])
    monkeypatch.setattr("predictive.filtering.covariances.scanned_covariances", None)
    assert kalman_filter(model, z, mask).states.mean.shape == (1, 5, n)
    with pytest.raises(TypeError):
        kalman_filter(model, z, mask, method="parallel")


@pytest.mark.parametrize("name", ["initial_mean", "initial_covariance", "process_noise"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_parameters_must_be_finite(name, value):
    model = random_model()
    broken = getattr(model, name).clone()
    broken.view(-1)[0] = value
    with pytest.raises(ValueError, match=f"{name}: expected finite values"):
        kalman_filter(replace(model, **{name: broken}), data()[0])


def test_asymmetry_is_measured_by_the_largest_variance():
    model, (z, _) = random_model(), data()
    covariance = torch.diag(torch.tensor([1e6, 1.0, 1.0, 1e-3], dtype=torch.float64))
    covariance[1, 2] += 1e-2  # a float32 product of such a size is off by as much
    kalman_filter(replace(model, initial_covariance=covariance), z)
    covariance[0, 1] += 2e2
    with pytest.raises(ValueError, match="expected symmetric covariances"):
        kalman_filter(replace(model, initial_covariance=covariance), z)


def test_a_covariance_that_is_not_positive_names_its_smallest_eigenvalue():
    bad = torch.diag(torch.tensor([2.0, -0.5, 1.0, 1.0], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"smallest eigenvalue of -0\.5;"):
        kalman_filter(replace(random_model(), initial_covariance=bad), data()[0])


@pytest.mark.parametrize("kind", ["constant", "in-time", "per-sample", "full"])
def test_results_are_shared_by_the_samples_where_the_recursion_is(kind):
    z, _ = data()
    posterior = kalman_filter(random_model(kind), z)
    groups = SAMPLES if kind == "per-sample" else 1
    for one in (posterior.states, posterior.predicted_states, posterior.predictions):
        assert len(one.factor) == groups
        assert len(one.mean) == SAMPLES
    mask = torch.rand(SAMPLES, STEPS) < 0.5
    assert len(kalman_filter(random_model(kind), z, mask).states.factor) == SAMPLES


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_samples_follow_the_equations_of_the_model(method):
    """h_t = A (h_{t−1} − b) + b + q_t, z_t = D h_t + c + r_t, from the generator's normal draws."""
    model = random_model("in-time")
    states, observations = sample_model(
        model, SAMPLES, STEPS, torch.Generator().manual_seed(3), method
    )
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    h = model.initial_mean + normal(SAMPLES, 1, STATES)[:, 0] @ factor(model.initial_covariance).T
    q = normal(SAMPLES, STEPS, STATES) * model.process_noise.sqrt()
    r = normal(SAMPLES, STEPS, LATENTS) * model.observation_noise.sqrt()
    for t in range(STEPS):
        b = model.offset[t]
        h = (h - b) @ model.transition[t].T + b + q[:, t]
        z = h @ model.observation_matrix[t].T + model.observation_offset[t] + r[:, t]
        close(states[:, t], h)
        close(observations[:, t], z)


def factor(covariance):
    return torch.linalg.cholesky(covariance)


@pytest.mark.parametrize("kind", ["constant", "per-sample"])
def test_posterior_paths_follow_the_smoothers_conditionals_backward(kind):
    """h_T, then h_t = h_t + J (h_{t+1} − h⁻_{t+1}) + E^{1/2} n, from the generator's draws."""
    model, (z, _) = random_model(kind), data()
    draws = 2
    paths = sample_posterior(model, z, draws, generator=torch.Generator().manual_seed(3))
    filtered = kalman_smoother(model, z).filtered
    states, predicted = filtered.states, filtered.predicted_states
    groups = SAMPLES if kind == "per-sample" else 1
    shape = (STEPS, groups, STATES, SAMPLES // groups, draws)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = noise.permute(4, 1, 3, 0, 2).flatten(1, 2)  # (S, B, T, n)
    for sample in range(SAMPLES):
        group = min(sample, groups - 1)
        for draw in range(draws):
            n = noise[draw, sample]
            h = states.mean[sample, -1] + states.factor[group, -1] @ n[-1]
            close(paths[draw, sample, -1], h)
            for t in reversed(range(STEPS - 1)):
                p, after = states.covariance[group, t], predicted.covariance[group, t + 1]
                a = model.transition if kind == "constant" else model.transition[sample, t + 1]
                gain = p @ a.T @ torch.linalg.inv(after)
                rest = p - gain @ after @ gain.T
                h = states.mean[sample, t] + gain @ (h - predicted.mean[sample, t + 1])
                h = h + factor(rest) @ n[t]
                close(paths[draw, sample, t], h, atol=1e-8)


def test_one_sample_of_one_step_is_enough():
    states, observations = sample_model(random_model(), 1, 1)
    assert (states.shape, observations.shape) == ((1, 1, STATES), (1, 1, LATENTS))
    for count in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least one sample and one step"):
            sample_model(random_model(), *count)
    assert sample_posterior(random_model(), data()[0], 1).shape == (1, SAMPLES, STEPS, STATES)


def test_a_full_noise_of_variances_is_the_diagonal_one():
    model, (z, _) = random_model(), data()
    full = replace(
        model,
        process_noise=Full(model.process_noise.diag()),
        observation_noise=Full(model.observation_noise.diag()),
    )
    close(kalman_filter(full, z).states.mean, kalman_filter(model, z).states.mean, atol=1e-12)


def test_one_value_that_is_not_finite_is_enough_to_refuse():
    z, _ = data()
    z[1, 2, 0] = torch.inf
    with pytest.raises(ValueError, match="observations: expected finite values"):
        kalman_filter(random_model(), z)
    with pytest.raises(ValueError, match="initial_covariance: expected positive definite"):
        kalman_filter(replace(random_model(), initial_covariance=torch.zeros(4, 4)), data()[0])


def test_a_parameter_of_one_step_or_one_sample_is_that_of_all():
    model, (z, _) = random_model(), data()
    expected = kalman_filter(model, z)
    for lead in ((1,), (1, 1)):
        shaped = replace(
            model,
            transition=model.transition.expand(*lead, -1, -1),
            offset=model.offset.expand(*lead, -1),
            process_noise=model.process_noise.expand(*lead, -1),
        )
        close(kalman_filter(shaped, z).states.mean, expected.states.mean, atol=1e-12)
    for lead in ((2,), (2, 1), (2, STEPS), (1, 1, 1)):
        with pytest.raises(ValueError, match="transition: expected shape"):
            kalman_filter(replace(model, transition=model.transition.expand(*lead, -1, -1)), z)


def test_two_samples_may_have_a_recursion_each():
    model, z = random_model("per-sample"), data()[0][:2]
    two = replace(
        model,
        **{
            name: getattr(model, name)[:2]
            for name in (
                *("transition", "offset", "observation_matrix", "process_noise"),
                *("observation_noise", "observation_offset"),
            )
        },
    )
    both = kalman_filter(two, z)
    for sample in range(2):
        names = ("transition", "offset", "observation_matrix", "process_noise")
        others = ("observation_noise", "observation_offset")
        alone = {name: getattr(model, name)[sample] for name in (*names, *others)}
        one = kalman_filter(replace(model, **alone), z[sample : sample + 1])
        close(both.states.mean[sample], one.states.mean[0])
        close(both.states.covariance[sample], one.states.covariance[0])


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_two_sensors_that_say_the_same_without_noise_are_believed(method):
    """Their covariance is singular in float64: a few roundings of each variance are added."""
    one = torch.ones(1, dtype=torch.float64)
    model = StateSpaceModel(
        initial_mean=0.0 * one,
        initial_covariance=one[None],
        transition=0.5 * one[None],
        offset=0.0 * one,
        observation_matrix=torch.ones(2, 1, dtype=torch.float64),
        process_noise=one,
        observation_noise=1e-20 * torch.ones(2, dtype=torch.float64),
    )
    z = torch.randn(2, 4, 1, dtype=torch.float64).expand(-1, -1, 2)
    posterior = kalman_filter(model, z, method=method)
    close(posterior.states.mean, z[..., :1], atol=1e-6)
    assert posterior.log_likelihood.isfinite().all()
    close(cholesky(torch.ones(3, 3).double())[:, 0], torch.ones(3).double(), atol=1e-12)
