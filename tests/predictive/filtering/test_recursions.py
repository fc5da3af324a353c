"""Linear recursions, scans and layouts, each against the loop that it stands for."""

from __future__ import annotations

from functools import reduce

import pytest
import torch

from predictive.filtering.covariances import Recursion, looped_covariances
from predictive.filtering.loops import calls
from predictive.filtering.recursions import (
    affine,
    affine_values,
    associative_scan,
    from_columns,
    lyapunov,
    lyapunov_values,
    previous,
    ridge,
    rounding_share,
    symmetric,
    to_columns,
)
from predictive.filtering.settled import constant_affine
from tests.support.predictive.filtering_models import close

STEPS, GROUPS, SIZE, COLUMNS = 5, 2, 3, 4


def wide(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def looped(step, items, x):
    found = []
    for item in items:
        x = step(*item, x)
        found.append(x)
    return torch.stack(found)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_recursions_are_their_loops(parallel, reverse):
    f, g, e = wide(STEPS, GROUPS, 3, 3), wide(STEPS, GROUPS, 3, 4), wide(STEPS, GROUPS, 3, 3)
    for values, add, start, step in (
        (affine_values, g, wide(GROUPS, 3, 4), lambda a, b, x: a @ x + b),
        (lyapunov_values, e, wide(GROUPS, 3, 3), lambda a, b, x: a @ x @ a.mT + b),
    ):
        items = list(zip(f, add, strict=True))
        expected = looped(step, items[::-1] if reverse else items, start)
        expected = expected.flip(0) if reverse else expected
        close(values(f, add, start, parallel, reverse), expected)


@pytest.mark.parametrize("parallel", [False, True])
def test_adjoints_are_those_of_finite_differences(parallel):
    f, g, e = wide(3, GROUPS, 2, 2), wide(3, GROUPS, 2, 3), wide(3, GROUPS, 2, 2)
    starts = wide(GROUPS, 2, 3), wide(GROUPS, 2, 2)
    for function, add, start in ((affine, g, starts[0]), (lyapunov, e, starts[1])):
        given = [x.requires_grad_() for x in (f.detach().clone(), add, start)]
        assert torch.autograd.gradcheck(lambda *x, one=function: one(*x, parallel), given)
        assert function(f[:0], add[:0], start, parallel).shape == add[:0].shape


@pytest.mark.parametrize("steps", range(1, 10))
def test_a_scan_has_all_prefixes_in_their_order(steps):
    elements = wide(steps, 2, 2)
    (prefixes,) = associative_scan(lambda a, b: (b[0] @ a[0],), (elements,))
    for last in range(steps):
        close(prefixes[last], reduce(lambda a, b: b @ a, elements[: last + 1]))


def test_what_was_before_begins_with_the_start():
    sequence, start = wide(3, 2, 2), wide(2, 2)
    assert torch.equal(previous(start, sequence), torch.stack([start, *sequence[:-1]]))


@pytest.mark.parametrize("groups", [1, 5])
def test_samples_are_columns_of_one_group_or_groups_of_one_column(groups):
    x = wide(5, 3, 2)
    columns = to_columns(x, groups)
    for sample in range(5):
        place = (sample, 0) if groups > 1 else (0, sample)
        assert torch.equal(columns[:, place[0], :, place[1]], x[sample])
    assert torch.equal(from_columns(columns, 5), x)
    shared = to_columns(x[:1], 1)
    assert torch.equal(from_columns(shared, 5), x[:1].expand(5, -1, -1))


def test_the_ridge_is_a_few_roundings_of_each_variance():
    for dtype in (torch.float32, torch.float64):
        covariance = torch.ones(2, 5, 3, 3, dtype=dtype)
        share = 12.0 * torch.finfo(dtype).eps
        assert rounding_share(covariance) == share
        expected = torch.ones(3, 3, dtype=dtype) + share * torch.eye(3, dtype=dtype)
        assert torch.equal(ridge(covariance), expected)
    x = wide(2, 3, 3)
    close(symmetric(x), (x + x.mT) / 2, atol=1e-15)


@pytest.mark.parametrize("masked", [False, True])
def test_loops_by_numpy_and_by_torch_are_the_same(masked, monkeypatch):
    def outcome():
        torch.manual_seed(0)
        a, q, d, r = wide(1, 1, 3, 3), torch.eye(3), wide(STEPS, 1, 2, 3), torch.eye(2)
        q, r = (x.double()[None, None] for x in (q, r))
        known = torch.rand(STEPS, 1, 2) < 0.5 if masked else None
        p = Recursion(a, q, d, r, torch.eye(3).double()[None], known)
        f, g, e, x = wide(STEPS, 1, 3, 3), wide(STEPS, 1, 3, 4), wide(STEPS, 1, 3, 3), wide(1, 3, 4)
        settled = wide(STEPS, 4, 3)
        constant_affine(f[0, 0], settled, reverse=masked)
        values = (affine_values(f, g, x, False), lyapunov_values(f, e, e[0], False, reverse=masked))
        return *looped_covariances(p, STEPS), *values, settled

    by_numpy = outcome()
    monkeypatch.setattr("predictive.filtering.loops._SMALL", 0)
    assert calls(wide(1, 1, 2)).add is torch.add
    for value, expected in zip(by_numpy, outcome(), strict=True):
        close(value, expected, atol=1e-12)
