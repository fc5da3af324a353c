"""The report: written whole, in every situation a run can end in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from solo_ldm.commands.pretrain.picture import ReportData, write_report

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
SPECTRUM = torch.linspace(1, 0.1, 5)
SCORES = {"knn-20": {"top1": 0.9, "untrained_top1": 0.5}}


@pytest.mark.parametrize(
    "data",
    [
        ReportData("empty"),
        ReportData("unlabelled", HISTORY, {"trained": SPECTRUM}, FEATURES),
        ReportData(
            "labelled",
            HISTORY,
            {"trained": SPECTRUM},
            FEATURES,
            torch.arange(80) % 3,
            ["a", "b", "c"],
            SCORES,
        ),
        ReportData("many classes", features=FEATURES, labels=np.arange(80) % 40),
        ReportData("few samples", features=FEATURES[:5], labels=[0, 1, 0, 1, 0]),
        ReportData("collapsed", spectra={"trained": torch.zeros(5)}, features=torch.ones(80, 5)),
        ReportData("not finite", features=torch.full((80, 5), float("nan"))),
    ],
    ids=lambda data: data.title,
)
def test_a_report_is_a_picture_of_its_size_and_leaves_nothing_else(tmp_path, data):
    path = write_report(tmp_path / "report.png", data)
    with Image.open(path) as image:
        assert image.size == (1600, 1000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_report_is_one_line_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "report.png"
    path.write_bytes(b"old")
    for data in (
        ReportData("x", {"epoch": [1, 2], "loss": [1.0]}),
        ReportData("x", features=FEATURES, labels=[0, 1]),
    ):
        with pytest.raises(ValueError, match=r".+") as caught:
            write_report(path, data)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="png"):
        write_report(tmp_path / "report.pdf", ReportData("x"))
    assert path.read_bytes() == b"old"
