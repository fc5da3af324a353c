"""metrics.csv is continued as far as it can be read, and blocks no training."""

from __future__ import annotations

import pytest

from solo_ldm.run.metrics import MetricsCSV

HEADER = "epoch,loss,step\n"
WHOLE = HEADER + "0,0.5,4\n1,0.4,8\n2,0.3,12\n"


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (WHOLE, [0, 1]),
        ("epoch,loss\n0,0.5\n1,0.4\n", [0, 1]),
        (WHOLE.replace("1,0.4,8", "1,0."), [0, 1]),
        (WHOLE.replace("0.4", "what"), [0]),
        (WHOLE.replace("1,", "nan,"), [0]),
        (WHOLE.replace("1,", "inf,"), [0]),
        (WHOLE.replace("1,", "-1,"), [0]),
        (WHOLE.replace("1,0.4,8", "1,0.4,8,9,9"), [0]),
        (WHOLE.replace("epoch", "time"), []),
        ("", []),
        ("\n\n", []),
        ("\0\0\0", []),
        ("\udcff\udcfe", []),
        ('"' * 200_001, []),
    ],
)
def test_rows_that_cannot_be_read_are_counted_and_left_out(tmp_path, content, kept):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    metrics = MetricsCSV(path)
    lines = metrics.keep_before(2)
    assert sorted(metrics.rows) == kept
    assert [f"lacks {2 - len(kept)} of the 2 epochs" in line for line in lines] == [True] * (
        len(kept) < 2
    )
    metrics.log_metrics({"epoch": 2, "loss": 0.2}, step=12)
    metrics.save()
    again = MetricsCSV(path)
    again.keep_before(3)
    assert sorted(again.rows) == [*kept, 2]


def test_a_folder_in_place_of_the_file_is_warned_of_once(tmp_path, recwarn):
    (tmp_path / "metrics.csv" / "in the way").mkdir(parents=True)
    metrics = MetricsCSV(tmp_path / "metrics.csv")
    assert len(metrics.keep_before(1)) == 1
    metrics.log_metrics({"epoch": 1, "loss": 0.2}, step=8)
    metrics.save()
    metrics.save()
    assert [str(one.message).count("cannot be written") for one in recwarn] == [1]


def test_nothing_is_written_for_a_run_whose_folder_is_gone(tmp_path):
    metrics = MetricsCSV(tmp_path / "gone" / "metrics.csv")
    metrics.log_metrics({"epoch": 0, "loss": 0.2}, step=4)
    metrics.save()
    assert not (tmp_path / "gone").exists()
    assert metrics.keep_before(1) == []
