"""Measures of features that have collapsed, and pictures of whatever there is."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
import torch

from solo_ldm.commands.diagnostics.encoding import Encoded
from solo_ldm.commands.diagnostics.measures import Measured, measure
from solo_ldm.commands.diagnostics.picture import write_diagnostics
from solo_ldm.commands.diagnostics.report import notices_of, write_spectra
from solo_ldm.evaluation.features import Features
from solo_ldm.plotting.embedding import to_plane


def _measured(features: torch.Tensor, num_classes: int = 3) -> Measured:
    labels = torch.arange(len(features)) % num_classes
    one = Features(features, labels)
    views = torch.stack([features, features], dim=1)
    encoded = Encoded(one, one, one, views, {"others": features + 1})
    network = torch.nn.Linear(6, features.shape[1]).eval()
    return measure(encoded, network, torch.randn(2, 6), classify=True)


@pytest.mark.parametrize("value", [0.0, 3.0, float("nan")])
@pytest.mark.filterwarnings("ignore")
def test_a_collapse_is_reported_and_drawn(tmp_path, value):
    found = {"features": {"trained": _measured(torch.full((60, 5), value))}}
    values = found["features"]["trained"].values
    json.dumps(values, allow_nan=False)
    assert values["gaussianity"] is None
    assert values["spectrum"] is None or values["spectrum"]["exponent"] is None
    assert any("gaussianity is not measured" in line for line in notices_of(found))
    assert (
        write_diagnostics(tmp_path / "a.png", "$", "$", found, ["a", "b", "$c"]).stat().st_size
        > 9999
    )
    write_spectra(tmp_path / "a.csv", found)


@pytest.mark.parametrize("num_classes", [2, 40])
def test_the_picture_takes_any_number_of_classes(tmp_path, num_classes):
    features = torch.randn(200, 12) + torch.arange(200)[:, None] % num_classes
    measured = _measured(features, num_classes)
    found = {
        space: {"trained": measured, "untrained": measured} for space in ("features", "latents")
    }
    names = [f"a long name of the class {number}" for number in range(num_classes)]
    assert write_diagnostics(tmp_path / "a.png", "many", "", found, names).stat().st_size > 9999
    assert measured.values["alignment"] == pytest.approx(0.0, abs=1e-9)
    assert measured.values["embedding"]["trustworthiness"] > 0.8


def test_lidar_below_its_ridge_is_said():
    lines = _measured(torch.randn(200, 12) * 1e-3).lines
    assert any("below its ridge" in line for line in lines)
    features = torch.randn(200, 12)
    one = Features(features, torch.arange(200) % 3)
    views = torch.stack([features, features + torch.randn(200, 12)], dim=1)
    found = measure(Encoded(one, one, one, views, {}), lambda x: x, None, classify=False)
    assert not found.lines


def test_the_map_is_umaps_where_it_is_installed(monkeypatch):
    features = np.random.default_rng(0).normal(size=(80, 9))
    points, method = to_plane(features)
    assert method == "t-SNE"
    np.testing.assert_array_equal(points, to_plane(features)[0])
    monkeypatch.setattr("solo_ldm.plotting.embedding.find_spec", lambda name: None)
    assert to_plane(features, umap=True)[1] == "t-SNE"
    monkeypatch.undo()

    class UMAP:
        def __init__(self, random_state: int, n_jobs: int) -> None:
            assert (random_state, n_jobs) == (0, 1)

        def fit_transform(self, given: np.ndarray) -> np.ndarray:
            return given[:, :2]

    module = ModuleType("umap")
    module.__spec__ = ModuleSpec("umap", None)
    module.__dict__["UMAP"] = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    points, method = to_plane(features, umap=True)
    assert (points.shape, method) == ((80, 2), "UMAP")
    assert to_plane(features)[1] == "t-SNE"
