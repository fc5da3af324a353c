"""The Amari distance, the matching of sources, and FastICA."""

from __future__ import annotations

import numpy as np
import pytest

from solo_ldm.ica import amari_distance, fast_ica, match_sources
from tests.support.studies.ica import draw, mixed_uniform


def test_amari_distance_is_zero_for_scaled_permutations_alone():
    mixing = draw(4, 4).numpy()
    permutation = np.eye(4)[[2, 0, 3, 1]] * np.array([3.0, -0.1, 1.0, 20.0])
    assert amari_distance(permutation @ np.linalg.inv(mixing), mixing) == pytest.approx(0, abs=1e-9)
    other = draw(4, 4, seed=1).numpy()
    assert amari_distance(other, mixing) > 0.1


def test_amari_distance_ignores_order_sign_and_scale_of_what_was_recovered():
    unmixing, mixing = draw(3, 3).numpy(), draw(3, 3, seed=1).numpy()
    changed = (np.diag([5.0, -1.0, 0.01]) @ unmixing)[[1, 2, 0]]
    expected = amari_distance(unmixing, mixing)
    assert amari_distance(changed, mixing) == pytest.approx(expected)
    assert amari_distance(unmixing @ np.linalg.inv(mixing), np.eye(3)) != pytest.approx(expected)


def test_amari_distance_is_one_where_every_source_is_everywhere():
    hadamard = np.array([[1.0, 1.0], [1.0, -1.0]])
    assert amari_distance(hadamard, np.eye(2)) == pytest.approx(1.0)


def test_matching_finds_order_and_signs():
    sources = draw(200, 3).numpy()
    recovered = sources[:, [2, 0, 1]] * np.array([-2.0, 1.0, 0.5])
    matching = match_sources(recovered, sources)
    assert matching.order.tolist() == [1, 2, 0]
    assert matching.signs.tolist() == [1.0, 1.0, -1.0]
    assert matching.correlations == pytest.approx(np.ones(3))


def test_fast_ica_says_when_it_did_not_converge():
    gaussian = draw(500, 6).numpy()
    uniform = mixed_uniform(2000).numpy()
    assert fast_ica(uniform, 0).converged
    assert isinstance(fast_ica(gaussian, 0).converged, bool)
