"""Mixtures in a damaged file, or with NaN, are refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from solo_ldm.commands.ica.mixtures import own_mixtures
from tests.support.damage import faults


@pytest.mark.parametrize("count", [4, pytest.param(None, marks=pytest.mark.slow)])
def test_damaged_mixtures_are_one_line(tmp_path, count):
    mixtures = np.random.default_rng(0).normal(size=(50, 2))
    np.save(tmp_path / "m.npy", mixtures)
    np.savez(tmp_path / "m.npz", mixtures=mixtures, sources=mixtures)
    found = faults(tmp_path / "m.npy", own_mixtures, 0, count, 12)
    found += faults(tmp_path / "m.npz", own_mixtures, 1, count, 12)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["mixtures", "sources"])
def test_mixtures_or_sources_with_nan_are_refused_before_anything_is_fitted_to_them(tmp_path, name):
    arrays = {key: np.random.default_rng(0).normal(size=(50, 2)) for key in ("mixtures", "sources")}
    arrays[name][3, 1] = np.nan
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers, got 1 of"):
        own_mixtures(tmp_path / "m.npz")
    arrays[name][3] = 0.0
    arrays["sources"][:, 1] = 2.0
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ValueError, match="expected sources that vary"):
        own_mixtures(tmp_path / "m.npz")
