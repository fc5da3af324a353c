"""A linear evaluation that is killed and started again."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.support.linear_toy import run_linear
from tests.support.processes import kill_at

pytestmark = [
    pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning"),
    pytest.mark.usefixtures("without_pictures"),
]


# 4 steps an epoch: step 6 is in the middle of the second.
LAST_STEP = 6
RUNS = {
    "linear-offline": ["optimizer.lr=[0.1,0.3]"],
    "finetune": ["mixup=0.2"],
}


def settings_of(protocol: str) -> list[str]:
    return [f"protocol={protocol}", "max_epochs=3", "optimizer.batch_size=64", *RUNS[protocol]]


@pytest.mark.parametrize("protocol", RUNS)
def test_killed_and_started_again_gives_the_same_weights_bit_for_bit(
    tmp_path, pretrained, protocol
):
    settings = settings_of(protocol)
    whole = run_linear(tmp_path / "whole", pretrained, *settings)
    kill_at(LAST_STEP, run_linear, tmp_path / "killed", pretrained, *settings)
    (unfinished,) = (tmp_path / "killed" / "linear").iterdir()
    assert not (unfinished / "results.json").exists()
    resumed = run_linear(tmp_path / "killed", pretrained, *settings)
    assert resumed.folder.path == unfinished
    for name in ("classifier", "backbone") if protocol == "finetune" else ("classifier",):
        expected, actual = (load_file(getattr(one.folder, name)) for one in (whole, resumed))
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
    assert whole.results["confusion"] == resumed.results["confusion"]
