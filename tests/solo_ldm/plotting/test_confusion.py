"""Confusion matrices: drawn for any number of classes, refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from solo_ldm.plotting.confusion import write_confusion


@pytest.mark.parametrize("num_classes", [2, 20, 100])
def test_confusion_is_drawn_whole_and_nothing_else_is_left(tmp_path, num_classes):
    counts = np.random.default_rng(0).integers(0, 9, (num_classes, num_classes))
    counts[1] = 0
    names = [f"class $number$ {number} of a long name" for number in range(num_classes)]
    path = tmp_path / "new" / "confusion.png"
    assert write_confusion(path, counts.tolist(), names, "knn-20", (0.1, 0.2)) == path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_confusion_is_one_line(tmp_path):
    for confusion, classes, name, message in (
        ([[1, 2]], ["a"], "x.png", "classes, classes"),
        ([[0, 0], [0, 0]], ["a", "b"], "x.png", "positive"),
        ([[1, 0], [0, 1]], ["a"], "x.png", "expected 2 names"),
        ([[1]], ["a"], "x.pdf", "ends in .png"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            write_confusion(tmp_path / name, confusion, classes, "title", (0.1, 0.2))
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
