"""docs/methods.md: each row says what its YAML says, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from solo_ldm.methods import find_method
from solo_ldm.run.configuration import complete
from tests.support import ROOT

PACKAGED = ROOT / "solo_ldm" / "configs"
SCRIPTS = ROOT / "scripts" / "pretrain"
PAGE = (ROOT / "docs" / "methods.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| `[\w/]+` \|", line)
]
GRID = [row for row in ROWS if len(row) == 7]
NO_METHODS = {
    "host",
    "knn",
    "linear",
    "own_data",
    "compare",
    "solo",
    "ldm",
    "patches",
    "uncertainty",
    "ica",
    "theorem",
    "clusters",
    "diagnostics",
    "zeroshot",
}


def composed(path: Path) -> DictConfig:
    """Compose a YAML of the scripts, or a packaged one."""
    with initialize_config_dir(str(path.parent), version_base="1.3"):
        overrides = ["hydra.searchpath=[pkg://solo_ldm.configs]"]
        return complete(compose(path.stem, overrides=overrides))


def file_of(name: str) -> Path:
    """Return the YAML that a row names: packaged, or of the scripts."""
    packaged = PACKAGED / f"{name}.yaml"
    return packaged if packaged.is_file() else SCRIPTS / f"{name}.yaml"


@pytest.mark.parametrize("row", GRID, ids=lambda row: row[0])
def test_a_row_of_the_grid_says_what_its_yaml_says(row):
    name, latent, entropy, over, predictor, target, _ = row
    cfg = composed(file_of(name.strip("`")))
    description = find_method(cfg.method).describe(cfg)
    expected = {
        "latent": latent,
        "entropy": entropy.removesuffix(", leave-one-out"),
        "over": None if over == "–" else over,
        "predictor": predictor,
        "target": target,
    }
    assert description.axes == expected
    left_out = description.settings["entropy_kwargs"].get("leave_one_out", False)
    assert entropy.endswith(", leave-one-out") == bool(left_out)


def test_the_page_has_the_twelve_cells_of_the_paper_and_every_packaged_method():
    cells = {(row[1], row[2], row[3]) for row in GRID if row[0].startswith("`cifar/")}
    assert len(cells) == 12
    named = {row[0].strip("`") for row in ROWS}
    packaged = {path.stem for path in PACKAGED.glob("*.yaml")} - NO_METHODS
    assert packaged - {"gaussprob", "sphereprob"} <= named
    families = {f"lightly/{path.stem}" for path in (PACKAGED / "lightly").glob("*.yaml")}
    assert families <= named


def test_the_comparisons_of_methods_have_every_row_of_the_page():
    """Cells and presets by what they are on the grid, baselines by their names."""
    overrides = ["hydra.searchpath=[pkg://solo_ldm.configs]"]
    with initialize_config_dir(str(ROOT / "scripts" / "compare"), version_base="1.3"):
        both = [compose(name, overrides=overrides) for name in ("methods", "patches")]
    compared = set()
    for entry in [entry for one in both for entry in one.methods]:
        if isinstance(entry, str):
            compared.add(entry)
        else:
            over = [value.partition("=")[2] for value in entry.overrides]
            compared |= {(entry.config, *over), entry.label}
    for row in ROWS:
        name = row[0].strip("`")
        # Which learn from labels, captions or clips.
        if name in ("supervised", "clip", "siglip", "vjepa"):
            continue
        if name.startswith("cifar/"):
            method = {"plane": "gaussprob", "sphere": "sphereprob"}[row[1]]
            assert (method, row[2], row[3]) in compared
        else:
            assert name in compared


@pytest.mark.parametrize("name", re.findall(r"`(test_\w+)`", PAGE))
def test_every_test_that_the_page_names_exists(name):
    assert any(f"def {name}(" in path.read_text() for path in (ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("folder", ["cifar", "imagenet-100"])
def test_the_scripts_hold_the_twelve_cells_at_the_papers_settings(folder):
    """DESIGN, section 4: λ, κ, β, projectors, batch, LARS, epochs."""
    low = folder == "imagenet-100"
    cells = {}
    for path in SCRIPTS.glob(f"{folder}/*prob*.yaml"):
        cfg = composed(path)
        settings = find_method(cfg.method).settings(cfg)
        cells[settings.latent, settings.entropy, settings.over] = settings
        assert (cfg.backbone.name, cfg.max_epochs) == ("resnet18", 400 if low else 1000)
        batch = cfg.optimizer.batch_size * len(cfg.devices)
        assert (cfg.optimizer.name, cfg.optimizer.lr, batch) == ("lars", 0.3, 256)
        assert cfg.optimizer.weight_decay == 1e-4
        assert not settings.proj_batch_norm
    assert len(cells) == 12
    for (latent, entropy, over), settings in cells.items():
        precision = 12.5 if (latent, entropy) == ("plane", "neighbour") else 5.0
        if low and latent == "sphere" and over == "joint":
            precision = 2.5
        assert settings.prediction_precision == precision
        if entropy == "kernel":
            assert settings.entropy_kwargs["kernel_precision"] == precision
        assert settings.proj_layers == 2


def test_packaged_methods_normalise_the_projector_and_the_papers_do_not():
    assert composed(PACKAGED / "gaussprob.yaml").method_kwargs.proj_batch_norm
    assert not composed(SCRIPTS / "cifar" / "gaussprob.yaml").method_kwargs.get("proj_batch_norm")
