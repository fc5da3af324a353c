"""Every entry of the zoo: its files, its scores, its recipe, and the table of all entries."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from scripts.zoo import build
from solo_ldm import zoo
from solo_ldm.weights.published import download, manifest
from solo_ldm.weights.published.entry import CONFIG, NOT_PUBLISHED
from solo_ldm.weights.published.manifest import find_entry, read_manifest, zoo_folder
from solo_ldm.zoo.table import table
from tests.support import ROOT

PUBLISHED = [*read_manifest()]
# Those whose data come with a dependency or are simulated.
AT_HAND = [
    name
    for name in PUBLISHED
    if NOT_PUBLISHED not in (zoo_folder() / "weights" / name / CONFIG).read_text()
]


def test_every_recipe_of_the_zoo_fits_the_schema(tmp_path):
    for recipe in build.read_recipes().values():
        where = [f"data.train_path={tmp_path}"] if recipe.folder else []
        cfg = build.COMMANDS[recipe.command][1](build.configuration(recipe, 0, where))
        assert cfg.seed == 0


def test_the_zoo_holds_what_its_recipes_make_without_a_gpu():
    recipes = build.read_recipes()
    assert {name for name, one in recipes.items() if one.needs != "gpu"} <= set(PUBLISHED)
    for name in PUBLISHED:
        entry = find_entry(name)
        if name not in recipes:  # of a comparison, on images that do not come with it
            assert name not in AT_HAND
            continue
        assert {one.num_runs for one in entry.results} == {len(recipes[name].seeds)}
        assert entry.seed == recipes[name].seeds[0]
        assert not str(entry.commit).endswith("+changes")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_scores_what_it_says(name):
    if name not in AT_HAND:
        pytest.skip(f"the data of {name} do not come with it: solo-ldm zoo verify --data FOLDER")
    found = zoo.verify(name)
    assert found.same_data
    assert found.checks
    for check in found.checks:
        assert check.passed, f"{check.published} but {check.measured}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_file_of_the_repository_is_the_published_one(name):
    entry = find_entry(name)
    for file in entry.files:
        if not file.urls:
            assert download.fetch(entry, file.name).is_file()


def test_the_table_is_the_manifest():
    assert (zoo_folder() / "README.md").read_text() == table(read_manifest())


def test_torch_hub_finds_the_models_in_a_checkout_that_is_not_installed(monkeypatch):
    def not_installed(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(manifest, "packaged", not_installed)
    root = str(ROOT)
    assert zoo_folder() == ROOT / "zoo"
    assert torch.hub.load(root, "list", source="local") == PUBLISHED
    model = torch.hub.load(root, "load", "figure8", source="local")
    assert model.features(torch.zeros(1, 3, model.input_dim)).shape == (1, 3, model.num_features)
