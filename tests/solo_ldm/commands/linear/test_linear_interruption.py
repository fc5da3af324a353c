"""A linear evaluation that is killed and started again."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from solo_ldm.run.resume import load_checkpoint
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


@pytest.mark.parametrize("protocol", RUNS)
def test_a_checkpoint_is_continued_at_the_rates_and_the_batch_of_the_configuration(
    tmp_path, pretrained, protocol
):
    settings = [*settings_of(protocol), "scheduler.name=warmup_cosine"]
    source = run_linear(tmp_path / "source", pretrained, *settings).folder
    changes = ["optimizer.batch_size=32", "max_epochs=6", f"resume_from_checkpoint={source.last}"]
    outcome = run_linear(tmp_path / "other", pretrained, *settings, *changes)
    before, after = (load_checkpoint(folder.last) for folder in (source, outcome.folder))
    # 288 images, a tenth of which is held out where there are several rates.
    steps = 9 if protocol == "finetune" else 8
    assert (before["global_step"], after["global_step"]) == (3 * 4, 6 * steps)
    rates = [
        [group["initial_lr"] for group in one["optimizer_states"][0]["param_groups"]]
        for one in (before, after)
    ]
    assert rates[1] == pytest.approx([rate / 2 for rate in rates[0]])
    (origin,) = outcome.results["continued_from"]
    assert origin["changed"]["optimizer.batch_size"] == [64, 32]
    with pytest.raises(ValueError, match=r"optimizer.name: expected sgd, which .* got lars"):
        run_linear(tmp_path / "new", pretrained, *settings, *changes, "optimizer.name=lars")
    assert not (tmp_path / "new").exists()


def test_a_protocol_without_epochs_continues_nothing(tmp_path, pretrained):
    changes = ("protocol=linear-features", f"resume_from_checkpoint={pretrained.last}")
    with pytest.raises(ValueError, match="resume_from_checkpoint: expected null for protocol"):
        run_linear(tmp_path / "new", pretrained, *changes)
    assert not (tmp_path / "new").exists()
