"""Comparisons: ranking, uncertainty, tables and pictures of fabricated results."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from itertools import pairwise

import pytest
from scipy.stats import ttest_rel

from solo_ldm.commands.compare.picture import draw_comparison, visible_range
from solo_ldm.commands.compare.ranking import rank_methods
from solo_ldm.commands.compare.runs import Result
from solo_ldm.commands.compare.table import csv_text, markdown
from solo_ldm.plotting.page import save
from tests.support.studies.fabricated import (
    PROTOCOLS,
    RESULTS,
    SCORES,
    comparison_of,
    failed,
    result,
    rows_of,
)


def test_methods_are_ranked_by_the_mean_of_the_ranking_protocol():
    order = [one.label for one in rank_methods(RESULTS, PROTOCOLS, "linear-features")]
    assert order == ["b", "c", "a", "d"]


def test_equal_means_share_a_rank_and_methods_without_a_score_have_none_and_go_last():
    results = {
        "gone": [failed("gone", 0), failed("gone", 1)],
        "x": [result("x", 0, 0.8), result("x", 1, 0.9)],
        "y": [result("y", 0, 0.9), result("y", 1, 0.8)],
        "z": [result("z", 0, 0.7), failed("z", 1)],
    }
    standings = rank_methods(results, PROTOCOLS, "linear-features")
    assert [(one.label, one.rank) for one in standings] == [
        ("x", 1),
        ("y", 1),
        ("z", 3),
        ("gone", None),
    ]
    assert [len(one.finished) for one in standings] == [2, 2, 1, 0]


def test_the_margin_is_the_interval_of_a_paired_t_test():
    for standing in rank_methods(RESULTS, PROTOCOLS, "linear-features")[1:]:
        margin = standing.margin
        assert margin is not None
        assert margin.half_width is not None
        test = ttest_rel(SCORES[standing.label], SCORES["b"]).confidence_interval(0.95)
        assert margin.mean - margin.half_width == pytest.approx(test.low)
        assert margin.mean + margin.half_width == pytest.approx(test.high)


def test_methods_are_told_from_the_best_exactly_where_that_interval_leaves_out_zero():
    standings = rank_methods(RESULTS, PROTOCOLS, "linear-features")
    apart = {one.label: one.margin.significant for one in standings if one.margin is not None}
    assert apart == {"c": False, "a": True, "d": True}


def test_the_margin_pairs_the_seeds_that_both_have():
    results = {
        "x": [result("x", 0, 0.9), failed("x", 1), result("x", 2, 0.8)],
        "y": [result("y", 0, 0.7), result("y", 1, 0.1), result("y", 2, 0.65)],
    }
    margin = rank_methods(results, PROTOCOLS, "linear-features")[1].margin
    assert margin is not None
    assert margin.mean == pytest.approx((-0.2 - 0.15) / 2)


def test_seeds_that_happen_to_agree_are_not_certain_beyond_a_test_image():
    results = {
        "x": [result("x", 0, 0.9), result("x", 1, 0.8)],
        "y": [result("y", 0, 0.899), result("y", 1, 0.799)],  # an image of 1000 less, each
    }
    margin = rank_methods(results, PROTOCOLS, "linear-features")[1].margin
    assert margin is not None
    assert margin.half_width == pytest.approx(12.706 * 0.001 / 2**0.5, rel=1e-3)
    assert margin.significant is False


def test_one_seed_tells_no_methods_apart_and_the_table_says_so():
    results = {"x": [result("x", 3, 0.9)], "y": [result("y", 3, 0.7)]}
    made = comparison_of(results)
    assert made.standings[1].margin is not None
    assert made.standings[1].margin.significant is None
    text = markdown(made, "comparison.png")
    assert "one seed (3), which says nothing about the spread" in text
    assert "±" not in "".join(map(str, rows_of(text)))


def test_the_table_gives_means_and_deviations_in_percent_in_rank_order():
    head, *rows = rows_of(markdown(comparison_of(RESULTS), "comparison.png"))
    assert head == [
        "rank", "method", "what it is", "seeds", "knn-20", "linear-features", "to the best",
        "effective rank", "seconds",
    ]  # fmt: skip
    assert rows[0] == [
        "1", "b", "plane, kernel, joint", "3", "95.0 ± 1.0", "96.0 ± 1.0", "the best", "20.0", "11",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["1", "2=", "3", "4", ""]
    assert rows[-1][1:6] == ["untrained", "", "", "60.0 ± 10.0", "60.0 ± 10.0"]


def test_each_untrained_network_has_a_row_of_its_own():
    other = result("v", 0, 0.9)
    assert other.results is not None
    other.results["backbone"] = "vit"
    for score in other.results["results"].values():
        score["untrained_top1"] = 0.2
    results = {"x": [result("x", 0, 0.9)], "y": [result("y", 0, 0.8)], "v": [other]}
    rows = rows_of(markdown(comparison_of(results), "comparison.png"))
    assert rows[-2][1:6] == ["untrained convnet_small", "", "", "50.0", "50.0"]
    assert rows[-1][1:6] == ["untrained vit", "", "", "20.0", "20.0"]
    texts = [one.get_text() for one in draw_comparison(comparison_of(results)).axes[0].texts]
    shown = [one for one in texts if "untrained" in one]
    assert shown == ["◂ untrained 50.0", "◂ untrained 20.0", "◂ untrained 50.0"]


def test_the_footnote_names_what_is_not_above_its_untrained_network():
    results = {  # untrained, 0.5 and 0.6
        "x": [result("x", 0, 0.9), result("x", 1, 0.9)],
        "y": [result("y", 0, 0.9), result("y", 1, 0.605)],
    }
    text = markdown(comparison_of(results), "comparison.png")
    assert "Each of 4 runs is above its untrained network by linear-features." in text
    assert "above its untrained network by knn-20, except y (1 of 2)." in text


def test_the_footnote_says_where_the_numbers_come_from():
    text = markdown(comparison_of(RESULTS), "comparison.png")
    for said in (
        "1000 held-out images of digits", "3 seeds", "ranked by linear-features", "60 epochs",
        "batch 128", "convnet_small", "an abacus", "solo_ldm 0.1.0", "torch 2.15.0",
        "commit 0123456789", "2030-01-02", "± 2.0 for a single run", "(comparison.png)",
    ):  # fmt: skip
        assert said in text


def test_the_footnote_says_what_runs_were_not_all_made_with_and_scored_on():
    text = markdown(comparison_of(RESULTS), "comparison.png")
    assert "Every seed is scored on the same test images" in text
    assert "Runs differ" not in text
    other = replace(result("x", 2, 0.9), contents="0123")
    other.results.update(precision="bf16-mixed", hardware="a slide rule")
    results = {"x": [result("x", 0, 0.9), result("x", 1, 0.9), other]}
    text = markdown(comparison_of(results), "comparison.png")
    assert "Not all runs are known to be on the same data" in text
    assert "Every seed is scored on the same test images" not in text
    assert "Runs differ in precision: 32-true (2); bf16-mixed (1)." in text
    assert "Runs differ in hardware: an abacus (2); a slide rule (1)." in text


def test_runs_of_two_commits_are_said_to_be_of_two():
    later = result("x", 1, 0.9)
    assert later.results is not None
    later.results["commit"] = "fedcba9876543210+changes"
    text = markdown(comparison_of({"x": [result("x", 0, 0.9), later]}), "comparison.png")
    assert "commit 0123456789 and fedcba9876+changes" in text
    runs = [result("x", seed, 0.9) for seed in range(4)]
    for number, run in enumerate(runs):
        run.results.update(commit=f"{9 - number}" * 40, finished=f"2030-01-0{9 - number}")
    text = markdown(comparison_of({"x": runs}), "comparison.png")
    assert "4 commits from 6666666666 to 9999999999" in text


def test_failed_runs_are_rows_with_their_reason():
    results = {
        **RESULTS,
        "e": [failed("e", seed) for seed in range(3)],
        "f": [result("f", 0, 0.6), failed("f", 1), failed("f", 2)],
    }
    text = markdown(comparison_of(results), "comparison.png")
    rows = {row[1]: row for row in rows_of(text)}
    assert rows["e (failed)"][:1] + rows["e (failed)"][3:] == ["–", "0", *["–"] * 5]
    assert rows["f (1 of 3 seeds)"][3:6] == ["1", "59.0", "60.0"]
    assert "over as many seeds as are given, of one without ±" in text
    assert "- **e**, seeds 0, 1, 2: the loss is not finite at step 3" in text
    assert "- **f**, seeds 1, 2: the loss is not finite at step 3" in text


def test_a_comparison_of_failures_alone_still_makes_its_files(tmp_path):
    made = comparison_of({"e": [failed("e", 0)]})
    assert "No run finished" in markdown(made, "comparison.png")
    assert "not finite" in csv_text(made)
    assert save(tmp_path / "comparison.png", draw_comparison(made)).stat().st_size > 1000


def test_collapsed_latents_are_marked():
    results = {
        **RESULTS,
        "point": [result("point", s, 0.2, z_effective_rank=1.0) for s in range(2)]
        + [result("point", 2, 0.5)],
    }
    text = markdown(comparison_of(results), "comparison.png")
    assert rows_of(text)[5][1] == "point ‡"
    assert "Latents collapsed or exploded: point in 2 of 3 runs" in text


def test_a_label_with_a_bar_stays_in_its_cell():
    made = comparison_of({"x|y": [result("x|y", 0, 0.9)]})
    assert "| 1 | x\\|y |" in markdown(made, "comparison.png")


def test_the_csv_holds_every_run_so_that_the_table_follows_from_it():
    results = {**RESULTS, "e": [failed("e", seed) for seed in range(3)]}
    rows = list(csv.DictReader(io.StringIO(csv_text(comparison_of(results)))))
    assert len(rows) == 15
    for label, values in SCORES.items():
        own = [row for row in rows if row["label"] == label]
        assert [float(row["linear-features"]) for row in own] == values
        assert [row["seed"] for row in own] == ["0", "1", "2"]
        assert [row["path"] for row in own] == [f"runs/{label}-{seed}" for seed in range(3)]
        assert {row["status"] for row in own} == {"finished"}
    lost = [row for row in rows if row["status"] == "failed"]
    assert {(row["label"], row["linear-features"]) for row in lost} == {("e", "")}
    assert lost[0]["error"] == "the loss is not finite at step 3"


def many(count: int) -> dict[str, list[Result]]:
    labels = [f"method number {i} with a name" if i % 3 else f"m{i}" for i in range(count)]
    results = {
        label: [result(label, seed, 0.9 + 0.003 * i - 0.002 * seed) for seed in range(3)]
        for i, label in enumerate(labels[:-2])
    }
    results[labels[-2]] = [result(labels[-2], seed, 0.2, z_std=1e-6) for seed in range(3)]
    results[labels[-1]] = [failed(labels[-1], seed) for seed in range(3)]
    return results


@pytest.mark.parametrize("count", [6, 30])
def test_no_text_of_the_picture_is_cut_off_and_no_names_overlap(count):
    figure = draw_comparison(comparison_of(many(count)))
    figure.draw_without_rendering()
    whole = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert box.x0 >= whole.x0
        assert box.x1 <= whole.x1
        assert box.y0 >= whole.y0
        assert box.y1 <= whole.y1
    names = [one.get_window_extent() for one in figure.axes[0].get_yticklabels()]
    assert len(names) == count
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(names))


def test_a_method_that_collapsed_does_not_press_the_others_together():
    assert visible_range([0.97, 0.98, 0.99, 0.2], [0.97, 0.98, 0.99, 0.2]) == (0.97, 0.99)
    assert visible_range([0.6, 0.7, 0.8], [0.6, 0.7, 0.8]) == (0.6, 0.8)
