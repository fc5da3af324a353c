"""Differences between the budgets of a comparison's entries, and from published recipes."""

from __future__ import annotations

from solo_ldm.commands.compare.differences import budget_of, find_differences, published_line
from solo_ldm.commands.compare.entries import cell_of
from solo_ldm.commands.compare.table import markdown
from tests.support.studies.fabricated import RESULTS, comparison_of


def test_cells_off_the_grid_are_called_by_their_headline():
    none = dict.fromkeys(("latent", "entropy", "over", "predictor", "target"))
    assert cell_of(none, "lightly's DINOLoss") == "lightly's DINOLoss"


def test_the_odd_one_out_differs_not_the_others():
    usual = {"optimizer.lr": 0.003, "max_epochs": 60}
    budgets = {"a": {**usual, "optimizer.lr": 0.1}, "b": usual, "c": usual}
    found = find_differences(budgets, {})
    assert found == {"a": "optimizer.lr 0.003 → 0.1 (by its configuration)"}


def test_a_difference_of_an_entrys_own_overrides_is_told_from_one_of_its_configuration():
    usual = {"optimizer.lr": 0.003, "max_epochs": 60, "backbone.name": "small", "data.dataset": "x"}
    odd = {"optimizer.lr": 0.1, "max_epochs": 9, "backbone.name": "big", "data.dataset": "y"}
    budgets = {"a": odd, "b": usual, "c": usual}
    line = find_differences(budgets, {"a": ["max_epochs", "data"]})["a"]
    assert line == (
        "max_epochs 60 → 9; backbone.name small → big; data.dataset x → y (by its own overrides); "
        "optimizer.lr 0.003 → 0.1 (by its configuration)"
    )


def test_views_that_only_one_entry_has_are_counted_not_listed():
    two = [{"crop_size": 16, "blur": 0.0}] * 2
    six = two + [{"crop_size": 8, "blur": 0.5}] * 4
    views = {"a": two, "b": two, "c": six}
    budgets = {label: budget_of({"augmentations": v}) for label, v in views.items()}
    line = find_differences(budgets, {})["c"]
    assert line == "augmentations (8 keys) (by its configuration)"


def test_what_changes_only_how_fast_data_comes_is_no_part_of_the_budget():
    cfg = {
        "data": {"dataset": "digits", "num_workers": 2, "device": "auto"},
        "seed": 1,
        "name": "x",
    }
    assert budget_of(cfg) == {"data.dataset": "digits"}


def test_a_published_recipe_is_compared_with_what_runs():
    cfg = {
        "optimizer": {"name": "adamw", "weight_decay": 0.0001, "batch_size": 128},
        "method_kwargs": {"proj_output_dim": None},
        "published": {
            "source": "Someone, arXiv 1",
            "note": "with more views",
            "optimizer.name": "lars",
            "optimizer.weight_decay": "1e-4",
            "optimizer.batch_size": 4096,
            "method_kwargs.proj_output_dim": 2048,
            "method_kwargs.queue_size": 65536,
        },
    }
    line = published_line(cfg, {"proj_output_dim": 64})
    assert line == (
        "optimizer.name lars → adamw; optimizer.batch_size 4096 → 128; "
        "method_kwargs.proj_output_dim 2048 → 64; method_kwargs.queue_size 65536 → not set "
        "(Someone, arXiv 1). Note: with more views"
    )


def test_a_recipe_that_is_followed_and_one_that_is_not_known_are_said_to_be():
    followed = {"max_epochs": 60, "published": {"source": "Someone", "max_epochs": 60}}
    line = "no difference in what its configuration lists (Someone)"
    assert published_line(followed, {}) == line
    assert published_line({"published": {}}, {}) is None
    text = markdown(comparison_of(RESULTS, published={"a": line, "b": None, "c": line}), "x.png")
    assert f"- **a; c**: {line}" in text
    assert "- **b**: no published recipe in its configuration" in text
