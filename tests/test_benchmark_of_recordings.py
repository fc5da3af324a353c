"""The rows, the table and the picture of benchmarks/recordings.py, from made-up results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch


def test_the_table_of_recordings_pairs_folds_and_seeds(benchmarks, tmp_path):
    tables, folds = benchmarks("positions.tables"), benchmarks("positions.folds")

    def record(fold: int, seed: int, *scores: tuple[str, str, float, float]) -> dict[str, Any]:
        rows = [
            {
                **{"row": row, "time": time, "width": width, "decoder": decoder, "seconds": 1.0},
                **{"supervised": False, "squares": [squares], "nulls": [9.0] * 20},
            }
            for row, time, width, squares in scores
            for decoder in ("linear", "mlp")
        ]
        about = {"data": "a", "about": "a rat, fold 0", "fold": fold, "seed": seed}
        method = "ours" if scores[0][0] == tables.FILTER else "averages"
        about |= {"method": method, "key": {"data": {"folds": 2}}}
        sizes = {"bins": 10, "mean": [float(fold)], "total": [5.0], "scores": rows}
        return {**about, **sizes, "coverage": [0.9 + 0.02 * fold, 10], **figures_of_origin}

    figures_of_origin = {"hardware": "", "finished": "", "versions": {"solo_ldm": "", "torch": ""}}
    past, whole = folds.PAST, folds.ALL
    results = [
        record(fold, seed, (tables.FILTER, past, 0, 1.0 + seed), (tables.SMOOTHER, whole, 0, 1.0))
        for fold in (0, 1)
        for seed in (0, 1)
    ]
    for fold in (0, 1):  # the width of 1 s is better in both folds together
        wide, narrow = (2.5, 1.0) if fold else (2.5, 9.0)
        scores = [("mean", past, 0.1, narrow), ("mean", past, 1.0, wide), ("mean", whole, 0.1, 1.1)]
        results.append(record(fold, 0, *scores))
        results[-1].pop("coverage")
    rows, verdicts = tables.tables(results, {"a": "A"})
    by_row = {(row[1], row[2]): row for row in rows.rows}
    # 1 − 5 / (5 + 5 + 20 · ½²), and (1 / 2.5 + 2 / 2.5) / 2.
    assert by_row["mean", past][3] == "0.667 ± 0.000 (1 s)"
    assert by_row["mean", past][5] == "0.60 ± 0.23"
    assert [row[5] for row in verdicts.rows] == ["yes", "yes", "0 of 1", "0 of 1"]
    assert verdicts.rows[2][3:5] == ["0.91 ± 0.00", "mean"]
    assert verdicts.rows[1][6] == "91.0 %"
    benchmarks("positions.picture").draw(results, {"a": "A"}, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def test_the_posterior_of_places_is_that_of_pynapple(benchmarks):
    nap, xr = pytest.importorskip("pynapple"), pytest.importorskip("xarray")
    generator = np.random.default_rng(0)
    average, rates = generator.gamma(1.0, 1.0, (30, 5)), generator.gamma(1.0, 1.0, (8, 5))
    occupancy, bins, step = generator.integers(1, 9, 8), 6.0, 0.025
    found = benchmarks("positions.rows").place_posterior(
        *map(torch.from_numpy, (average, rates)), bins, torch.from_numpy(occupancy)
    )
    places = {"unit": np.arange(5), "place": np.arange(8.0)}
    curves = xr.DataArray(rates.T / step, places, ["unit", "place"], attrs={"occupancy": occupancy})
    counts = nap.TsdFrame(t=np.arange(30) * bins * step, d=average * bins, columns=np.arange(5))
    _, known = nap.decode_bayes(
        curves, counts, counts.time_support, bins * step, uniform_prior=False
    )
    np.testing.assert_allclose(found.numpy(), np.asarray(known), atol=1e-9)
