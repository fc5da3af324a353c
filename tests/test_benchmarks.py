"""Every benchmark runs at toy size, prints its table whole when piped and writes it as CSV."""

from __future__ import annotations

import csv
import math
import re
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from solo_ldm.commands.compare import run as compare_run
from solo_ldm.commands.compare.entries import prepare_entries
from solo_ldm.commands.compare.records import Records
from solo_ldm.commands.compare.runs import Run
from solo_ldm.commands.compare.schema import complete_compare
from solo_ldm.run.data_identity import DataIdentity
from tests.support import ROOT
from tests.support.studies.fabricated import result

pytestmark = [
    pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning"),
    pytest.mark.filterwarnings("ignore:.*few.*:UserWarning"),
]

SMALL = [
    "max_epochs=1",
    "optimizer.batch_size=32",
    "method_kwargs.proj_hidden_dim=16",
    "method_kwargs.proj_output_dim=4",
    "+backbone.kwargs.width=4",
    "data.num_workers=0",
    "data.fraction=0.1",
]
SPIKES = [
    "data.num_cells=4",
    "data.duration_seconds=60",
    "data.block_seconds=5",
    "data.folds=2",
    "data.window=40",
    "optimizer.batch_size=8",
    "max_epochs=1",
    "evaluation.kinds=[linear]",
    "evaluation.smoothing_seconds=[0.25]",
    "evaluation.targets=[position]",
]
IMAGES = ["--images", "photographs", "--workers", "0"]

# Of each benchmark: constants (or a slice of them) that make it small, its arguments, and the rows
# of its table.
TOYS: dict[str, tuple[dict[str, Any], list[str], int]] = {
    "losses": (
        {},
        ["--batch", "16", "--dim", "4", "--rows", "products of pairs", "kernel, plane"],
        2,
    ),
    "views": ({"_SECONDS": 0.0}, ["--views", "2", "3", "--batch", "8", "--dim", "4"], 14),
    "kalman": (
        {"SIZES": ((2, 5, 2, 3), (1, 1001, 1, 2))},
        ["--rounds", "1", "--seconds", "0.001"],
        2,
    ),
    "data": ({}, [*IMAGES, "--batch", "4", "--rounds", "1", "--seconds", "0.01"], 4),
    "train_step": (
        {},
        [
            *("--images", "photographs", "--steps", "2", "--rounds", "1", *SMALL),
            *("data.dataset=custom", "data.fraction=-1", "backbone.name=convnet_small"),
            *("optimizer.batch_size=2", "resolution=null"),
        ],
        11,
    ),
    "backbones": (
        {},
        ["convnet_small", "--batch", "2", "--side", "16", "--rounds", "1", "--seconds", "0"],
        1,
    ),
    "peers": (
        {},
        [
            *("--images", "photographs", "--in-process", "--backbones", "resnet_tiny_32"),
            *("--batch", "2", "--workers", "0", "--steps", "2", "--rounds", "1"),
        ],
        3,
    ),
    "budget": (
        {"_TRIED": 2},
        [
            *("--images", "photographs", "--minutes", "0.0005"),
            *("--only", "the budget", "four crops of 16 pixels"),
            *("--", *SMALL, "data.fraction=-1", "data.val_fraction=0"),
            "optimizer.batch_size=4",
            *("data.dataset=custom", "backbone.name=convnet_small"),
        ],
        2,
    ),
    "cells": (
        {"SCRIPTS": ROOT / "tests" / "data" / "compare"},
        ["--comparison", "cells", "--train", *SMALL],
        3,
    ),
    "categories": ({"SHARES": (0.5, 1.0)}, ["--seeds", "1", "--epochs", "1"], 2),
    "gje": (
        {},
        ["--seeds", "1", "--num-images", "32", "--presets", "gje", "simclr", "--", *SMALL],
        2,
    ),
    "recordings": (
        {"METHODS": {"averages": False, "components": False, "Bayesian": False, "ours": True}},
        [
            *("--seeds", "1", "--only", "place_cells", "--records", "runs"),
            *(one for one in SPIKES if not one.startswith("evaluation.")),
            *("data.duration_seconds=40", "predictor.latent_dim=3"),
        ],
        14,
    ),
    "choices": (
        {"CHOICES": slice(-1, None)},
        [*(one for one in SPIKES if one.startswith("data.") and "window" not in one)],
        1,
    ),
}


def photographs(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_there_is_a_toy_of_every_benchmark():
    helpers = {"common", "kalman_peers", "spans"}
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - helpers == set(TOYS)


@pytest.mark.parametrize("name", TOYS)
def test_a_benchmark_prints_all_that_it_writes(name, benchmarks, tmp_path, monkeypatch, capsys):
    constants, arguments, expected = TOYS[name]
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "photographs")
    module: ModuleType = benchmarks(name)
    for constant, value in constants.items():
        kept = getattr(module, constant)[value] if isinstance(value, slice) else value
        monkeypatch.setattr(module, constant, kept)
    module.main(["--csv", "table.csv", *arguments])
    printed = capsys.readouterr().out
    with Path("table.csv").open(newline="") as file:
        heads, *rows = csv.reader(file)
    assert len(rows) == expected
    for cell in (*heads, *(cell for row in rows for cell in row)):
        assert cell in printed


def test_entropies_of_large_batches_that_do_not_end_in_time_are_left_out(
    benchmarks, monkeypatch, capsys
):
    losses = benchmarks("losses")
    assert losses.SIZES[-1] == 65536
    measured = losses.in_process

    def with_slow_products(name: str, *of: Any) -> Any:
        limit = 0.01 if name in losses.PRODUCTS else 60.0
        return measured(name, *of[:-1], limit)

    monkeypatch.setattr(losses, "in_process", with_slow_products)
    size = ["--batch", "16", "--dim", "4", "--device", "cpu", "--limit", "0.5"]
    losses.main([*size, "--rows", "products of features", "logdet"])
    printed = capsys.readouterr().out
    assert "| 16 | 4 | products of features | – | – | – |" in printed
    assert re.search(r"^\| 16 \| 4 \| logdet \| [\d.]+ \|  \| [\d.]+ \|$", printed, re.M)
    assert "or not ended within 0.5 seconds" in printed


def test_how_long_a_row_of_a_larger_batch_takes_is_foreseen(benchmarks):
    losses = benchmarks("losses")
    one = {"seconds": 2.0, "bytes": 1.0}
    found = {(16, 4, "neighbour"): one, (16, 4, "logdet"): one, (16, 4, "sliced"): None}
    names = ("neighbour", "logdet", "sliced", "redundancy")
    assert [losses.foreseen(found, 64, 4, name) for name in names] == [32.0, 8.0, math.inf, 0.0]


def test_filters_are_timed_once_where_slow_and_the_page_takes_their_table(
    benchmarks, tmp_path, monkeypatch
):
    kalman, common = benchmarks("kalman"), benchmarks("common")
    assert kalman.fits(kalman.OURS, 8, 1000, 128)
    assert not kalman.fits(kalman.SEPARATE, 8, 1000, 128)  # 131 million values of covariances
    assert not kalman.fits(kalman.DIRECT, 1, 1001, 2)
    for module in (kalman, common):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(kalman, "SIZES", ((2, 5, 2, 3),))
    monkeypatch.setattr(kalman, "LIBRARIES", {})
    monkeypatch.setattr(kalman, "_LONGEST", 0.0)
    page = tmp_path / "docs" / "kalman.md"
    page.parent.mkdir()
    page.write_text((ROOT / "docs" / "kalman.md").read_text())
    threads = torch.get_num_threads()
    kalman.main(["--rounds", "1", "--threads", "1", "--device", "cpu", "--write"])
    assert torch.get_num_threads() == threads
    ms = r"[\d.]+ \(once\)"
    row = rf"^\| 2 \| 5 \| 2 \| 3 \| {ms} \| {ms} \| {ms} \| [\d.]+ \| (\de-\d\d) \|"
    (differ,) = re.findall(row, page.read_text(), re.M)
    assert float(differ) < 1e-5
    assert ", 1 threads, " in page.read_text()


def test_the_table_of_cells_follows_from_records_alone(benchmarks, tmp_path, monkeypatch, capsys):
    cells, common = benchmarks("cells"), benchmarks("common")
    with initialize_config_dir(str(cells.SCRIPTS), version_base="1.3"):
        search = "hydra.searchpath=[pkg://solo_ldm.configs]"
        cfg = complete_compare(compose("cells", [search, "train=false"]))
    records, data = Records(tmp_path / "runs", print), DataIdentity("", "0123", "digits")
    entries = prepare_entries(cfg)
    monkeypatch.setattr(compare_run, "prepare_entries", lambda *_: entries)  # once is enough
    for entry in entries:
        for seed in (0, 1):  # of three
            made = result(entry.label, seed, 0.8 + 0.01 * seed)
            made.results.update(entry.description.axes)
            records.keep(Run(entry.label, seed, entry.runs[seed], data), made)
    places = [f"{key}={tmp_path}/{key}" for key in ("output", "checkpoint.dir")]
    own = [*places, f"records={tmp_path}/runs"]
    monkeypatch.setattr(cells, "PAGES", {"cells": ("page.md", "docs", own)})
    monkeypatch.setattr(cells, "_SHORT", {"cells": "README.md"})
    for module in (cells, common):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    for page in ("page.md", "README.md"):
        (tmp_path / page).write_text("<!-- cells: made by benchmarks/cells.py -->\n<!-- /cells -->")
    cells.main(["--comparison", "cells", "--write"])
    text = (tmp_path / "page.md").read_text()
    assert len(re.findall(r"^\| (?:gauss|sphere)prob .* \| 2 \| \+25.5 \|", text, re.M)) == 12
    assert "| untrained | – | – | – | 55.0 ± 7.1 | 55.0 ± 7.1 | 2 |" in text
    assert "makes no difference | joint − marginal 0.0 ± 0.9 | holds here |" in text
    assert "| plane LogDet leads | plane logdet − plane kernel 0.0 ± 0.9 | not told" in text
    for shown in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / shown).is_file()
    short = (tmp_path / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\S+) \|", short, re.M)
    assert rows == [
        ("method", "latent"),
        ("gaussprob", "plane"),
        ("sphereprob", "sphere"),
        ("untrained", "–"),
    ]
    assert "The best cell of each latent space" in short
    capsys.readouterr()
    given = Namespace(train=False, write=False, overrides=[])
    comparison = cells.comparison_of("cells", "docs", own, given, common.wide_console())
    both = cells.table(comparison, comparison)  # as if of another network
    assert both.heads[4] == "network"
    assert [row[4] for row in both.rows] == ["convnet_small"] * 26


def test_a_table_replaces_the_one_between_its_marks(benchmarks, tmp_path, monkeypatch):
    common = benchmarks("common")
    monkeypatch.setattr(common, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    marks = "<!-- a: made by benchmarks/a.py -->", "<!-- /a -->"
    page.write_text("before\n{}\nold\n{}\nafter\n".format(*marks))
    tables = [common.Figures(["x"], [[1]], "About."), common.Figures(["y"], [[2]])]
    args = Namespace(csv=tmp_path / "a.csv", write=True)
    common.publish(tables, page, "a", "a.py", args, common.wide_console())
    text = "{}\n\n| x |\n| --- |\n| 1 |\n\nAbout.\n\n| y |\n| --- |\n| 2 |\n\n{}".format(*marks)
    assert page.read_text() == f"before\n{text}\nafter\n"
    assert (tmp_path / "a-2.csv").read_text().split() == ["y", "2"]
    page.write_text("no marks\n")
    with pytest.raises(ValueError, match="put them back"):
        common.publish(tables, page, "a", "a.py", args, common.wide_console())
