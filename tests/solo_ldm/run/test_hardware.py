"""What a run computes on: what is not here is refused in a line, or said and replaced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from solo_ldm.run.hardware import SINGLE_DEVICE, Hardware, resolve_hardware, single_device

LAUNCHERS = (
    *("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_STEP_ID", "SLURM_JOB_NAME"),
    *("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "MASTER_ADDR", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE"),
)


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


def machine(monkeypatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def resolved(**keys: Any) -> Hardware:
    return resolve_hardware(OmegaConf.create({**SINGLE_DEVICE, "accelerator": "auto", **keys}))


REFUSED = [
    (0, {"accelerator": "tpu"}, "accelerator: expected"),
    (0, {"accelerator": "tpuu"}, "accelerator: expected"),
    (0, {"strategy": "dpp"}, "did you mean ddp"),
    (0, {"precision": "33"}, "precision: expected"),
    *((gpus, {"devices": 0}, "devices: expected a number of at least 1") for gpus in (0, 2)),
    *(
        (0, {"devices": devices}, "devices: expected a number of at least 1")
        for devices in (-2, 1.5, True, "two", [], [0, 0], [-1], ["a"], None)
    ),
    (0, {"accelerator": "cpu", "devices": [7]}, "a number of processes with accelerator=cpu"),
    (2, {"devices": [7]}, "devices: expected numbers below the 2 GPUs of this machine, got [7]"),
    (2, {"devices": 3}, "devices: expected at most the 2 GPUs of this machine, got 3"),
    (0, {"num_nodes": 2}, "num_nodes: expected 1, as no launcher"),
]


@pytest.mark.parametrize(("gpus", "keys", "message"), REFUSED, ids=str)
def test_what_is_not_here_is_refused_in_a_line_with_its_key(monkeypatch, gpus, keys, message):
    machine(monkeypatch, gpus)
    with pytest.raises(ValueError, match=r"^\w+: ") as caught:
        resolved(**keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


TAKEN = [
    (0, {"devices": "auto"}, ("cpu", 1, 0)),
    (0, {"devices": -1}, ("cpu", 1, 0)),
    (0, {"devices": [0, 1], "accelerator": "cpu"}, ("cpu", 2, 0)),
    (0, {"devices": [7]}, ("cpu", 1, 1)),
    (0, {"accelerator": "gpu", "devices": [0]}, ("cpu", 1, 1)),
    (0, {"accelerator": "mps"}, ("cpu", 1, 1)),
    (0, {"accelerator": "gpu", "devices": [4, 5], "precision": 16}, ("cpu", 2, 3)),
    (2, {"devices": "auto"}, ("cuda", 2, 0)),
    (2, {"devices": "2"}, ("cuda", 2, 0)),
    (2, {"devices": [1]}, ("cuda", [1], 0)),
    (2, {"accelerator": "cpu"}, ("cpu", 1, 0)),
]


@pytest.mark.parametrize(("gpus", "keys", "expected"), TAKEN, ids=str)
def test_a_configuration_for_gpus_runs_without_and_says_what_it_changed(
    monkeypatch, gpus, keys, expected
):
    machine(monkeypatch, gpus)
    hardware = resolved(**keys)
    assert (hardware.accelerator, hardware.devices, len(hardware.notices)) == expected


def test_bfloat16_on_a_cpu_is_for_processors_that_multiply_in_it(monkeypatch):
    machine(monkeypatch, 0)
    for here, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda here=here: {"avx512_bf16": here}, raising=False
        )
        hardware = resolved(precision="bf16-mixed")
        assert hardware.precision == expected
        assert len(hardware.notices) == (not here)


SLURM = {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "2"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}


def test_the_processes_of_a_launcher_are_those_of_the_run(monkeypatch):
    def refused(told: dict[str, str], keys: dict[str, Any]) -> str | None:
        with monkeypatch.context() as patched:
            for name, value in told.items():
                patched.setenv(name, value)
            assert single_device("cpu").num_processes == 1  # an evaluation, whatever is told
            try:
                resolved(accelerator="cpu", **keys)
            except ValueError as error:
                return str(error)
        return None

    two = {"devices": 2}
    for told in (SLURM, TORCHRUN):
        assert refused(told, two) is None
        assert "devices: expected one" in str(refused(told, {}))
    without_srun = {"SLURM_NTASKS": "2"}
    for keys in (two, {}):
        assert "start with srun" in str(refused(without_srun, keys))
    # Lightning would train with one process, and at the rates of two.
    assert "each of Slurm's 1 tasks" in str(refused({"SLURM_NTASKS": "1"}, two))
    assert refused({"SLURM_NTASKS": "1"}, {}) is None
    assert refused({**without_srun, "SLURM_JOB_NAME": "bash"}, {}) is None
    alone = {name: value for name, value in SLURM.items() if "PER_NODE" not in name}
    assert "--ntasks-per-node=2" in str(refused(alone, two))
    assert refused(SLURM | {"SLURM_NTASKS": "4"}, {**two, "num_nodes": 2}) is None
