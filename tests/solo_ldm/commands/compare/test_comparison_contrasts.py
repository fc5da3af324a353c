"""Comparisons that hold a grid: contrasts, what the paper says of them, and their pictures."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp

from solo_ldm.commands.compare.contrasts import (
    CONTRADICTED,
    HOLDS,
    Contrast,
    Contrasts,
    contrasts_markdown,
    contrasts_of,
    verdicts,
)
from solo_ldm.commands.compare.grid_picture import draw_cells, draw_contrasts
from solo_ldm.commands.compare.picture import draw_comparison
from solo_ldm.commands.compare.ranking import rank_methods
from solo_ldm.commands.compare.runs import Result
from solo_ldm.commands.compare.table import Comparison
from tests.support.studies.fabricated import PROTOCOLS, comparison_of, failed, result

RANK_BY = "linear-features"
GRID = [
    (latent, entropy, over)
    for latent in ("plane", "sphere")
    for entropy in ("kernel", "neighbour", "logdet")
    for over in ("joint", "marginal")
]
# As large as the paper's on CIFAR-100: plane LogDet first, joint or marginal the same.
EFFECTS = {"plane": 0.02, "sphere": 0.0, "kernel": 0.6, "neighbour": 0.61, "logdet": 0.65}


def cell(axes: tuple[str, ...], seed: int, top1: float, **besides: Any) -> Result:
    """A finished run of a cell."""
    made = result(", ".join(axes), seed, top1)
    made.results.update(zip(("latent", "entropy", "over"), axes, strict=True))
    made.results.update(predictor="none", target="same", num_val_images=10_000)
    made.results.update(besides)
    return made


def twelve(seeds: int, noise: float = 0.001, **effects: float) -> dict[str, list[Result]]:
    """The twelve cells, with effects by level and some noise."""
    draw, sizes = random.Random(0), {**EFFECTS, **effects}
    return {
        ", ".join(axes): [
            cell(axes, seed, sum(sizes.get(level, 0.0) for level in axes) + draw.gauss(0, noise))
            for seed in range(seeds)
        ]
        for axes in GRID
    }


def contrasts(results: dict[str, list[Result]]) -> tuple[Comparison, Contrasts]:
    made = comparison_of(results)
    found = contrasts_of(made)
    assert found is not None
    return made, found


def named(found: Contrasts, name: str) -> Contrast:
    every = (*found.axes, *found.pairs, *found.leading)
    return next(one for one in every if one.name == name)


def test_a_contrast_is_the_paired_t_test_of_means_over_cells():
    results = twelve(4, noise=0.02)
    _, found = contrasts(results)
    scores = {label: np.array([r.top1(RANK_BY) for r in runs]) for label, runs in results.items()}
    joint, marginal = (
        np.mean([values for label, values in scores.items() if label.endswith(over)], axis=0)
        for over in ("joint", "marginal")
    )
    expected = ttest_1samp(joint - marginal, 0).confidence_interval(0.95)
    one = named(found, "joint − marginal")
    margin = one.margins[RANK_BY]
    assert (one.pairs, one.seeds) == (6, (0, 1, 2, 3))
    assert margin.half_width is not None
    assert margin.mean - margin.half_width == pytest.approx(expected.low)
    assert margin.mean + margin.half_width == pytest.approx(expected.high)
    lead = named(found, "plane logdet − sphere kernel")
    families = [
        np.mean([scores[f"{family}, {over}"] for over in ("joint", "marginal")], axis=0)
        for family in ("plane, logdet", "sphere, kernel")
    ]
    assert lead.margins[RANK_BY].mean == pytest.approx((families[0] - families[1]).mean())
    assert (len(found.axes), len(found.pairs), len(found.leading)) == (5, 6, 5)


def test_test_images_add_at_most_what_two_independent_shares_differ_by():
    _, found = contrasts(twelve(3))
    one = named(found, "plane − sphere")
    draws = np.random.default_rng(0).binomial(10_000, [[0.64], [0.62]], (2, 20_000)) / 10_000
    spread = (draws[0] - draws[1]).std()
    assert one.images[RANK_BY] == pytest.approx(1.96 * spread, rel=0.02)


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ({}, [HOLDS, HOLDS, HOLDS, HOLDS]),
        ({"joint": 0.03}, [CONTRADICTED, HOLDS, HOLDS, HOLDS]),
        ({"plane": 0.0, "kernel": 0.66}, [HOLDS, CONTRADICTED, HOLDS, CONTRADICTED]),
        ({"kernel": 0.65, "neighbour": 0.65}, [HOLDS, HOLDS, CONTRADICTED, "not told apart"]),
    ],
)
def test_the_verdicts_follow_their_rule(effects, expected):
    _, found = contrasts(twelve(3, **effects))
    given = [verdict for *_, verdict in verdicts(found, RANK_BY)]
    assert [verdict.removesuffix(" by 3 seeds") for verdict in given] == expected


def test_noise_tells_nothing_apart_and_one_seed_gives_no_verdict():
    _, found = contrasts(twelve(2, noise=0.1))
    assert {verdict for *_, verdict in verdicts(found, RANK_BY)} == {"not told apart by 2 seeds"}
    made, found = contrasts(twelve(1))
    assert {verdict for *_, verdict in verdicts(found, RANK_BY)} == {"one seed: no verdict"}
    text = "\n".join(contrasts_markdown(found, made, "contrasts.png"))
    assert "±" not in text.partition("| joint − marginal |")[2].partition("| ±")[0]
    assert "6 pairs of latent and estimator are a sample of another kind" in text
    assert "says nothing about other seeds" in text


def test_seeds_that_lack_a_cell_and_methods_outside_the_grid_take_no_part():
    results = twelve(3)
    lost = "sphere, logdet, joint"
    results[lost] = [*results[lost][:2], failed(lost, 2)]
    extra = {
        "simclr": [cell(("sphere", "kernel", "pooled"), 0, 0.9)],
        "vicreg": [cell(("plane", "vicreg", "marginal"), 0, 0.9)],
        "cpc": [cell(("sphere", "kernel", "marginal"), 0, 0.9, predictor="linear")],
        "other": [cell(("plane", "kernel", "joint"), 0, 0.9)],
        "moco": [result("moco", 0, 0.9)],
    }
    _, found = contrasts({**results, **extra})
    assert list(found.cells) == GRID
    assert found.cells["plane", "kernel", "joint"].label == "plane, kernel, joint"
    assert named(found, "plane − sphere").seeds == (0, 1)
    assert named(found, "kernel − neighbour").seeds == (0, 1, 2)
    assert contrasts_of(comparison_of({"moco": extra["moco"], "simclr": extra["simclr"]})) is None


def test_two_cells_that_differ_in_one_axis_are_a_grid():
    axes = [("plane", "sliced", "joint"), ("plane", "sliced", "marginal")]
    made, found = contrasts({", ".join(one): [cell(one, s, 0.8) for s in (0, 1)] for one in axes})
    assert [one.name for one in found.axes] == ["joint − marginal"]
    assert found.pairs == found.leading == ()
    assert "joint − marginal" in "\n".join(contrasts_markdown(found, made, "x.png"))


def test_the_grid_of_an_unfinished_comparison_is_its_largest_whole_one():
    results = twelve(1)
    for count, expected in (
        (6, GRID[:6]),
        (8, GRID[:6]),
        (9, GRID[:6]),
        (10, [*GRID[:4], *GRID[6:10]]),
    ):
        _, found = contrasts({label: results[label] for label in list(results)[:count]})
        assert list(found.cells) == expected


SHIFTS = {"joint": 0.0, "marginal": 0.05}


def legend(figure: Figure) -> str:
    return "; ".join(one.get_text() for one in figure.legends[0].get_texts())


def test_legends_name_only_what_is_drawn():
    made, found = contrasts(twelve(1))
    assert legend(draw_cells(made, found)) == "over: joint; over: marginal"
    assert legend(draw_contrasts(made, found)).startswith("the difference; one seed tells nothing")
    assert "interval" not in legend(draw_contrasts(made, found))
    assert "=" not in legend(draw_comparison(made))
    assert "mean" not in legend(draw_comparison(made))
    made, found = contrasts(twelve(3))
    assert "mean of seeds" in legend(draw_cells(made, found))
    assert "different: mean and 95 % interval" in legend(draw_contrasts(made, found))
    alike = {("plane", "sliced", over): [0.8, 0.8 + shift] for over, shift in SHIFTS.items()}
    made, found = contrasts(
        {" ".join(one): [cell(one, s, v) for s, v in enumerate(vs)] for one, vs in alike.items()}
    )
    assert legend(draw_contrasts(made, found)).startswith("equal, or not told apart: mean")
    assert "beside a rank: not told from the best" in legend(draw_comparison(made))


def test_a_method_that_learns_from_labels_is_a_bound_and_not_the_best():
    bound = result("labels", 0, 0.99)
    bound.results["method"] = "supervised"
    made = comparison_of({"labels": [bound], "x": [result("x", 0, 0.9)], "e": [failed("e", 0)]})
    assert [(one.label, one.rank, one.is_bound) for one in made.standings] == [
        ("x", 1, False),
        ("labels", None, True),
        ("e", None, False),
    ]
    assert made.standings[0].margin is made.standings[1].margin is None
    sentences = {"x": [result("x", 0, 0.9)], "clip": [result("clip", 0, 0.95)]}
    standings = rank_methods(sentences, PROTOCOLS, "linear-features", from_labels=["clip"])
    assert [(one.label, one.rank, one.is_bound) for one in standings] == [
        ("x", 1, False),
        ("clip", None, True),
    ]


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_text_of_the_pictures_is_cut_off(seeds):
    others = {"a method of a rather long name": [result("a", s, 0.5) for s in range(seeds)]}
    bound = [cell(("", "", ""), s, 0.9, method="supervised") for s in range(seeds)]
    less = [cell(("", "", ""), s, 0.8, method="supervised") for s in range(seeds)]
    made, found = contrasts({**twelve(seeds), **others, "less": less, "supervised": bound})
    for one in (one for standing in made.standings for one in standing.finished):
        one.results["dataset"] = "cifar10-jpeg"
    for draw in (draw_cells, draw_contrasts):
        figure = draw(made, found)
        figure.draw_without_rendering()
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert box is not None
            assert box.x0 >= figure.bbox.x0
            assert box.x1 <= figure.bbox.x1
            assert box.y1 <= figure.bbox.y1
    shown = [one.get_text() for one in draw_cells(made, found).axes[0].texts]
    assert any(one.startswith("untrained") for one in shown)
    assert any(one.startswith("supervised 90") for one in shown)
    assert not any(one.startswith("less 80") for one in shown)  # a row, as one bound is a line
    assert any("Coates & Ng 79.6" in one for one in shown)
