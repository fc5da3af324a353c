"""The page on estimators is true: its code runs."""

from __future__ import annotations

import re

import numpy as np
import pytest

import predictive
from predictive import KalmanSSL
from predictive.estimator.settings import choose
from tests.support import ROOT

PAGE = (ROOT / "docs" / "estimator.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore")
def test_the_code_of_the_page_runs(tmp_path, monkeypatch, recording):
    counts, place = recording
    both = np.tile(counts, (4, 1)), np.tile(place, 4)
    np.savez(tmp_path / "session.npz", counts=both[0], position=both[1])
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in SNIPPETS:
        short = code.replace("bin_seconds=0.025", "bin_seconds=0.025, max_epochs=1")
        exec(short.replace("[-2000:]", "[-200:]"), names)
    assert names["states"].shape == (200, 12)
    assert (names["low"] <= names["high"]).all()
    np.testing.assert_allclose(names["state"], names["states"][-1], atol=1e-6)
    assert (tmp_path / "model.safetensors").exists()
    assert len(SNIPPETS[0].splitlines()) <= 10


def test_the_page_names_every_method_and_every_rule():
    own = {*vars(KalmanSSL), *vars(KalmanSSL.__mro__[1])}
    public = {name for name in own if not name.startswith(("_", "set_"))}
    assert {name for name in public if f"`{name}" not in PAGE} == set()
    rules = [line.split(":")[0].strip() for line in (choose.__doc__ or "").splitlines()
             if re.match(r"    \w+: ", line)]  # fmt: skip
    assert len(rules) >= 8
    assert all(f"`{rule}`" in PAGE for rule in rules)
    assert all(name in PAGE for name in predictive._FACES)
