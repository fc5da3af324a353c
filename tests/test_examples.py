"""Examples run, with small budgets; tests/predictive/estimator runs examples/recording.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from solo_ldm.entropy import ENTROPIES
from tests.support import ROOT
from tests.support.docs import tutorials

pytestmark = [
    pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning"),
    pytest.mark.filterwarnings("ignore:.*few.*:UserWarning"),
]

FEW = {'data="digits",': 'data="digits", **{"data.fraction": 0.2},'}
# Settings of each, as they stand and as a test has them.
SMALL = {
    "images": {"SIDE = 48": "SIDE = 96", "EPOCHS = 25": "EPOCHS = 1"},
    "estimator": {"EPOCHS = 10": "EPOCHS = 1", "SAMPLES = 1024": "SAMPLES = 128", **FEW},
    "comparing": {
        'SEEDS = "0,1,2"': 'SEEDS = "0"',
        "EPOCHS = 5": "EPOCHS = 1",
    },
    "health": {"EPOCHS = 20": "EPOCHS = 2", **FEW},
    "cluster": {"EPOCHS = 4": "EPOCHS = 3"},
    "solo_learn": {"EPOCHS = 3": "EPOCHS = 1"},
}
# What starts processes of its own.
SLOW = {"cluster": pytest.mark.slow, "solo_learn": pytest.mark.solo_learn}


def run_example(name: str, *arguments: str) -> None:
    """Run an example's code."""
    code = (ROOT / "examples" / f"{name}.py").read_text()
    for whole, small in SMALL.get(name, {}).items():
        assert whole in code
        code = code.replace(whole, small)
    sys.argv = [f"{name}.py", *arguments]
    exec(compile(code, f"{name}.py", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", [pytest.param(one, marks=SLOW.get(one, ())) for one in SMALL])
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.chdir(tmp_path)
    if name == "solo_learn" and "SOLO_LEARN" not in os.environ:
        pytest.skip("solo-learn is not here: SOLO_LEARN=CHECKOUT pytest -m solo_learn")
    with mock.patch.dict(ENTROPIES):  # where one is added
        run_example(name)
    said = capsys.readouterr().out
    if name == "images":
        assert "the same features: True" in said
    if name == "cluster":
        assert "the same weights to the last bit: True" in said


def test_neighbours_of_images_are_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", sys.argv)
    for number in range(8):
        path = tmp_path / "images" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    picture = tmp_path / "picture.png"
    run_example("neighbours", str(tmp_path / "images"), str(picture))
    assert capsys.readouterr().out.endswith(f"{picture}\n")
    with Image.open(picture) as drawn:
        assert drawn.width == 1200


def test_every_example_is_a_tutorial_or_tried_here():
    names = {Path(one).stem for one in (ROOT / "examples").glob("*.py")}
    assert names == {*tutorials.NAMES, "neighbours"}
    assert {*tutorials.NAMES} - {"recording"} == {*SMALL}
