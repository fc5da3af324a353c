"""A linear evaluation that is killed and started again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support import ROOT
from tests.support.linear_toy import run_linear

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

# Imports once, then lets a child of its own die in each run.
KILLED = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.commands.linear import linear
from tests.support.linear_toy import linear_config

look = StopAtNonFinite.on_train_batch_end

def die(self, trainer, *rest):
    look(self, trainer, *rest)
    if trainer.global_step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

StopAtNonFinite.on_train_batch_end = die
for folder, source, settings in json.loads(sys.argv[3]):
    child = os.fork()
    if child == 0:
        linear(linear_config(Path(folder), source, *settings))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""


def settings_of(protocol: str) -> list[str]:
    return [f"protocol={protocol}", "max_epochs=3", "optimizer.batch_size=64", *RUNS[protocol]]


@pytest.fixture(scope="module")
def killed(tmp_path_factory, pretrained) -> Path:
    """A folder of runs, by protocol, whose processes were killed."""
    folder = tmp_path_factory.mktemp("killed")
    runs = [(str(folder / name), str(pretrained.path), settings_of(name)) for name in RUNS]
    command = [sys.executable, "-c", KILLED, str(ROOT), str(LAST_STEP), json.dumps(runs)]
    subprocess.run(command, check=True)
    return folder


@pytest.mark.parametrize("protocol", RUNS)
def test_killed_and_started_again_gives_the_same_weights_bit_for_bit(
    tmp_path, pretrained, killed, protocol
):
    settings = settings_of(protocol)
    whole = run_linear(tmp_path, pretrained, *settings)
    (unfinished,) = (killed / protocol / "linear").iterdir()
    assert not (unfinished / "results.json").exists()
    resumed = run_linear(killed / protocol, pretrained, *settings)
    assert resumed.folder.path == unfinished
    for name in ("classifier", "backbone") if protocol == "finetune" else ("classifier",):
        expected, actual = (load_file(getattr(one.folder, name)) for one in (whole, resumed))
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
    assert whole.results["confusion"] == resumed.results["confusion"]
