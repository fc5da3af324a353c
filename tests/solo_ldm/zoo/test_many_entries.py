"""Publishing many runs at once, and a zoo of many entries that stays readable and small."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from solo_ldm.commands.zoo.run import run as zoo_command
from solo_ldm.files import read_json, write_json
from solo_ldm.weights.published.entry import WEIGHTS
from solo_ldm.weights.published.manifest import read_manifest
from solo_ldm.zoo import publishing
from solo_ldm.zoo.grouping import grouped
from solo_ldm.zoo.kinds import Score
from solo_ldm.zoo.picture import write_picture
from solo_ldm.zoo.table import table


def test_runs_that_differ_in_the_seed_alone_are_one_entry(runs, tmp_path, capsys):
    other = shutil.copytree(runs[0], tmp_path / "other")
    args = read_json(other / "args.json")
    args["optimizer"]["lr"] = 0.001
    write_json(other / "args.json", args)
    results = read_json(other / "results.json")
    write_json(other / "results.json", {**results, "over": "joint"})
    given = [runs[1], other, runs[0]]
    assert grouped(given, "{latent}-{over}") == {"plane-joint": [other], "plane-marginal": runs}
    with pytest.raises(ValueError, match="which differ in more than the seed; name more keys"):
        grouped(given, "{latent}")
    with pytest.raises(ValueError, match=r"expected keys of results.json .*lacks 'lat'"):
        grouped(given, "{lat}")
    command = ["publish", *map(str, given), "--licence", "x", "--zoo", str(tmp_path / "zoo")]
    with pytest.raises(ValueError, match="publish that entry alone"):
        zoo_command([*command, "--name", "{over}", "--training-state"])
    assert zoo_command([*command, "--name", "{latent}-{over}"], Console(width=200)) == 0
    found = read_manifest(tmp_path / "zoo")
    assert {name: one.results[0].num_runs for name, one in found.items()} == {
        "plane-joint": 1,
        "plane-marginal": 2,
    }
    assert found["plane-marginal"].seed == 1
    assert "zoo verify plane-joint plane-marginal" in capsys.readouterr().out


class StubKind:
    """A kind whose weights in half precision lose some score."""

    def __init__(self, loss: float) -> None:
        self.loss, self.half = loss, False

    def run_scores(self, results: Any) -> dict[str, Score]:
        return {"knn-20": Score("top1", 0.7, 10_000), "recorded": Score("top1", 0.9, 10_000)}

    def write_weights(self, run: Any, path: Any, half: bool) -> None:
        self.half = half
        path.write_text(f"half: {half}")

    def measure(self, folder: Any, data: Any, progress: Any) -> Any:
        return {"knn-20": Score("top1", 0.7 - self.loss * self.half, 10_000)}, "digest"


@pytest.mark.parametrize(("loss", "half"), [(0.0009, True), (0.0011, False)])
def test_half_precision_may_cost_a_thousandth_and_scores_are_of_what_is_stored(
    tmp_path, loss, half
):
    write_json(tmp_path / "results.json", {})
    kind: Any = StubKind(loss)
    scores, _ = publishing._write_weights(kind, tmp_path, tmp_path, {}, lambda *_: None)
    assert (tmp_path / WEIGHTS).read_text() == f"half: {half}"
    assert scores["knn-20"].value == 0.7 - loss * half


def test_the_picture_of_a_run_is_published_in_few_colours(tmp_path):
    rows = np.linspace(0, 255, 300).astype(np.uint8)
    pixels = np.stack([*np.meshgrid(rows, rows), np.full((300, 300), 9, np.uint8)], axis=2)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    publishing._write_picture(tmp_path / "one.png", tmp_path / "two.png")
    with Image.open(tmp_path / "two.png") as image:
        assert (image.mode, image.size) == ("P", (300, 300))
        close = np.abs(np.asarray(image.convert("RGB"), int) - pixels)
    assert close.mean() < 8


def test_many_entries_of_a_data_set_share_a_table_and_a_panel_a_protocol(
    published, tmp_path, monkeypatch
):
    toy = read_manifest(published)["toy"]
    many = {f"toy-{n}": replace(toy, name=f"toy-{n}", dataset="others") for n in range(7)}
    entries = {"toy": toy, **many}
    text = table(entries)
    assert text.count("## Images: ") == 2
    assert text.count("\n| [toy-") == 7
    titles = []
    monkeypatch.setattr("solo_ldm.zoo.picture._draw_panel", lambda axes, title, rows: titles.append(
        (title, len(rows))))  # fmt: skip
    write_picture(tmp_path / "scores.png", entries)
    assert titles == [
        ("top-1 accuracy on digits", 2),
        ("knn-20 on others", 7),
        ("linear-features on others", 7),
    ]
