"""The report: written whole, in every situation a run can end in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from solo_ldm.commands.pretrain.picture import write_report
from solo_ldm.plotting.series import draw_losses

EPOCHS = [1, 2, 3]
HISTORY = {
    "epoch": EPOCHS,
    "loss": [3.0, 2.0, 1.0],
    "log_prob": [-1.0, -0.5, -0.2],
    "entropy": [-2.0, -1.5, float("nan")],
    "effective_rank": [3.0, 4.0, 5.0],
    "std": [0.1, 0.2, 0.3],
    "mean_cosine": [0.9, 0.5, 0.1],
}
FEATURES = torch.randn(80, 5)
SPECTRA = {"trained": torch.linspace(1, 0.1, 5)}
SCORES = {"knn-20": {"top1": 0.9, "untrained_top1": 0.5}}
LABELLED = {"labels": torch.arange(80) % 3, "classes": ["a", "b", "_"], "scores": SCORES}
REPORTS: dict[str, dict[str, Any]] = {
    "empty": {},
    "unlabelled": {"history": HISTORY, "spectra": SPECTRA, "features": FEATURES},
    "labelled": {"history": HISTORY, "spectra": SPECTRA, "features": FEATURES, **LABELLED},
    "many classes": {"features": FEATURES, "labels": np.arange(80) % 40},
    "few samples": {"features": FEATURES[:5], "labels": [0, 1, 0, 1, 0]},
    "collapsed": {"spectra": {"trained": torch.zeros(5)}, "features": torch.ones(80, 5)},
    "not finite": {"features": torch.full((80, 5), float("nan"))},
}


@pytest.mark.parametrize("title", REPORTS)
def test_a_report_is_a_picture_of_its_size_and_leaves_nothing_else(tmp_path, title):
    path = write_report(tmp_path / "report.png", title, **REPORTS[title])
    with Image.open(path) as image:
        assert image.size == (1600, 1000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_report_is_one_line_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "report.png"
    path.write_bytes(b"old")
    for wrong, message in (
        ({"history": {"epoch": [1, 2], "loss": [1.0]}}, "equal length"),
        ({"features": FEATURES, "labels": [0, 1]}, "80 integers"),
        ({"features": FEATURES, "labels": np.arange(80), "classes": ["a"]}, "up to 79"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            write_report(path, "x", **wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="png"):
        write_report(tmp_path / "report.pdf", "x")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(("epochs", "ticks"), [([1], [1]), ([1, 2], [1, 2])])
def test_epochs_are_whole_numbers_on_the_axis(epochs, ticks):
    axes = Figure().subplots()
    values = [1.0] * len(epochs)
    draw_losses(axes, np.array(epochs, float), values, values, values)
    low, high = axes.get_xlim()
    assert [one for one in axes.get_xticks() if low <= one <= high] == ticks
