"""What a run computes on: the configured devices where they exist, the CPU where not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_ldm.config.arguments import check_value

# The keys of a configuration that is evaluated on one device, in float32.
SINGLE_DEVICE = {
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "sync_batchnorm": False,
}

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
_STRATEGIES = tuple(
    f"{name}{suffix}"
    for name in ("ddp", "ddp_spawn", "ddp_fork", "ddp_notebook")
    for suffix in ("", "_find_unused_parameters_true", "_find_unused_parameters_false")
)
_OTHER_STRATEGIES = (
    *("auto", "fsdp", "fsdp_cpu_offload", "deepspeed", "deepspeed_stage_1", "deepspeed_stage_2"),
    *("deepspeed_stage_2_offload", "deepspeed_stage_3", "deepspeed_stage_3_offload"),
)
_PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}
_OTHER_PRECISIONS = ("16-true", "bf16-true", "transformer-engine", "transformer-engine-float16")
# What launchers of several machines tell the processes that they start.
_LAUNCHERS = ("MASTER_ADDR", "SLURM_NTASKS", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")


@dataclass(frozen=True)
class Hardware:
    """Settings for lightning's Trainer, and what was changed to get them.

    Args:
        accelerator: cuda, mps or cpu.
        devices: a number of devices, or the indexes of GPUs.
        strategy: lightning's strategy.
        precision: lightning's precision.
        sync_batchnorm: share batch statistics across processes.
        num_processes: devices × nodes.
        notices: a line for each setting that could not be had here.
    """

    accelerator: str
    devices: int | list[int]
    strategy: str
    precision: str
    sync_batchnorm: bool
    num_processes: int
    notices: tuple[str, ...]

    @property
    def device(self) -> torch.device:
        """The device that features are extracted on."""
        index = self.devices[0] if isinstance(self.devices, list) else 0
        return torch.device(f"cuda:{index}" if self.accelerator == "cuda" else self.accelerator)


def resolve_hardware(cfg: DictConfig, launched: bool = True) -> Hardware:
    """Turn accelerator, devices, strategy and precision into what this machine has.

    A configuration written for GPUs runs on a machine without: on the CPU, in bfloat16 where its
    precision is that and the processor multiplies in it, else in float32, with a notice.

    Args:
        cfg: has the keys of `SINGLE_DEVICE` and `accelerator`.
        launched: whether the processes of a launcher (srun, torchrun) work together.

    Raises:
        ValueError: in one line: an unknown name, devices that are not here, or another number of
            processes than a launcher has started.
    """
    notices: list[str] = []
    accelerator = str(cfg.accelerator)
    check_value("accelerator", accelerator, Literal[_ACCELERATORS])
    check_value("strategy", str(cfg.strategy), Literal[_STRATEGIES + _OTHER_STRATEGIES])
    precision = _PRECISIONS.get(str(cfg.precision), str(cfg.precision))
    check_value("precision", precision, Literal[(*_PRECISIONS.values(), *_OTHER_PRECISIONS)])
    if accelerator != "cpu":
        accelerator = "cpu"
        if torch.cuda.is_available() and cfg.accelerator != "mps":
            accelerator = "cuda"
        elif torch.backends.mps.is_available():
            accelerator = "mps"
        elif cfg.accelerator != "auto":
            notices.append(f"accelerator={cfg.accelerator}: no GPU here, training on the CPU")
    devices = _devices(cfg.devices, accelerator, cfg.accelerator == "cpu", notices)
    count = len(devices) if isinstance(devices, list) else devices
    if accelerator == "cpu" and precision == "16-mixed":
        notices.append(f"precision={precision} needs a GPU, training in 32-true")
        precision = "32-true"
    if accelerator == "cpu" and precision.startswith("bf16") and not _multiplies_bfloat16():
        notices.append(
            f"precision={precision}: this processor has no bfloat16, training in 32-true"
        )
        precision = "32-true"
    processes = count * int(cfg.num_nodes)
    if launched:
        _check_launch(count, int(cfg.num_nodes))
    return Hardware(
        accelerator=accelerator,
        devices=devices,
        strategy="auto" if processes == 1 else str(cfg.strategy),
        precision=precision,
        # torch's SyncBatchNorm has no CPU implementation.
        sync_batchnorm=bool(cfg.sync_batchnorm) and processes > 1 and accelerator == "cuda",
        num_processes=processes,
        notices=tuple(notices),
    )


def _multiplies_bfloat16() -> bool:
    """Return whether this processor multiplies in bfloat16; emulated, it is slower than float32."""
    # Not in every version of torch that is supported.
    features = getattr(torch.cpu, "get_capabilities", dict)()
    return any(there is True for name, there in features.items() if "bf16" in name)


def single_device(accelerator: str) -> Hardware:
    """Return one device to compute on in float32: auto, cpu or gpu; see `resolve_hardware`."""
    cfg = OmegaConf.create({**SINGLE_DEVICE, "accelerator": accelerator})
    return resolve_hardware(cfg, launched=False)


def _devices(wanted: Any, accelerator: str, on_cpu: bool, notices: list[str]) -> int | list[int]:
    """Return the number of devices, or the indexes of GPUs.

    Args:
        wanted: as configured.
        accelerator: that there is.
        on_cpu: whether the CPU was asked for.
        notices: takes a line where indexes of GPUs become a number of processes.
    """
    given = _parsed(wanted)
    gpus = torch.cuda.device_count()
    if given == "auto" or (given == -1 and not isinstance(given, bool)):
        return gpus if accelerator == "cuda" else 1
    if isinstance(given, list):
        numbers = all(type(one) is int and one >= 0 for one in given)
        valid = bool(given) and numbers and len(set(given)) == len(given)
    else:
        valid = type(given) is int and given >= 1
    if not valid:
        raise ValueError(
            "devices: expected a number of at least 1, a list of GPUs such as [0,1], or auto, got "
            f"{given}"
        )
    if accelerator == "cuda":
        if (max(given) + 1 if isinstance(given, list) else given) > gpus:
            raise ValueError(
                f"devices: expected {'numbers below' if isinstance(given, list) else 'at most'} "
                f"the {gpus} GPUs of this machine, got {given}"
            )
        return given
    if isinstance(given, list):
        named = given != list(range(len(given)))
        if named and on_cpu:
            raise ValueError(
                f"devices: expected a number of processes with accelerator=cpu, got {given}, which "
                "are numbers of GPUs"
            )
        if named:
            notices.append(f"devices={given}: no such GPU here, processes: {len(given)}")
        given = len(given)
    if accelerator == "mps" and given > 1:
        raise ValueError(f"devices: expected 1, as there is one GPU (mps), got {wanted}")
    return given


def _parsed(wanted: Any) -> Any:
    if isinstance(wanted, (ListConfig, list, tuple)):
        return list(wanted)
    return int(wanted) if isinstance(wanted, str) and wanted.isdecimal() else wanted


def _check_launch(devices: int, num_nodes: int) -> None:
    """Compare the number of processes with what a launcher has started, if there is one.

    Raises:
        ValueError: in one line: they differ, or there are several machines and no launcher.
    """
    told, wanted = os.environ, f"devices={devices} and num_nodes={num_nodes}"
    interactive = told.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS" in told and not interactive and "TORCHELASTIC_RUN_ID" not in told:
        tasks = int(told["SLURM_NTASKS"])
        if (tasks > 1 and "SLURM_STEP_ID" not in told) or tasks != devices * num_nodes:
            raise ValueError(
                f"devices: expected one process for each of Slurm's {tasks} tasks (SLURM_NTASKS), "
                f"got {wanted}; start with srun, --nodes={num_nodes} and "
                f"--ntasks-per-node={devices}"
            )
        if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in told:
            raise ValueError(
                f"devices: Slurm was told --ntasks={tasks} alone; give --nodes={num_nodes} and "
                f"--ntasks-per-node={devices}"
            )
    elif "TORCHELASTIC_RUN_ID" in told and int(told["WORLD_SIZE"]) != devices * num_nodes:
        raise ValueError(
            f"devices: expected one for each of torchrun's {told['WORLD_SIZE']} processes, got "
            f"{wanted}"
        )
    elif num_nodes > 1 and not any(name in told for name in _LAUNCHERS):
        raise ValueError(
            f"num_nodes: expected 1, as no launcher has started this process, got {num_nodes}; "
            "start it on each machine with torchrun or srun"
        )
