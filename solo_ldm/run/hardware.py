"""What a run computes on: the configured devices where they exist, the CPU where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

# The keys of a configuration that is evaluated on one device, in float32.
SINGLE_DEVICE = {
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "sync_batchnorm": False,
}


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


def resolve_hardware(cfg: DictConfig) -> Hardware:
    """Turn accelerator, devices, strategy and precision into what this machine has.

    A configuration written for GPUs runs on a machine without: on the CPU, in float32, with a
    notice.

    Raises:
        ValueError: `devices` is no number, list or "auto", or more GPUs are asked for than exist.
    """
    notices: list[str] = []
    accelerator = str(cfg.accelerator)
    wants_gpu = accelerator in ("gpu", "cuda")
    if accelerator == "auto" or wants_gpu:
        if torch.cuda.is_available():
            accelerator = "cuda"
        elif torch.backends.mps.is_available():
            accelerator = "mps"
        else:
            accelerator = "cpu"
            if wants_gpu:
                notices.append(f"accelerator={cfg.accelerator}: no GPU here, training on the CPU")
    devices = _devices(cfg.devices, accelerator)
    count = len(devices) if isinstance(devices, list) else devices
    precision = str(cfg.precision)
    precision = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}.get(precision, precision)
    if accelerator == "cpu" and precision.startswith("16"):
        notices.append(f"precision={precision} needs a GPU, training in 32-true")
        precision = "32-true"
    processes = count * int(cfg.num_nodes)
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


def single_device(accelerator: str) -> Hardware:
    """Return one device to compute on in float32: auto, cpu or gpu; see `resolve_hardware`."""
    return resolve_hardware(OmegaConf.create({**SINGLE_DEVICE, "accelerator": accelerator}))


def _devices(wanted: Any, accelerator: str) -> int | list[int]:
    if wanted == "auto" or (wanted == -1 and accelerator == "cuda"):
        return torch.cuda.device_count() if accelerator == "cuda" else 1
    listed = isinstance(wanted, ListConfig)
    chosen = [int(one) for one in wanted] if listed else int(wanted)
    if accelerator != "cuda":
        return len(chosen) if isinstance(chosen, list) else chosen
    most = max(chosen) + 1 if isinstance(chosen, list) else chosen
    available = torch.cuda.device_count()
    if most > available:
        raise ValueError(
            f"devices: expected at most the {available} GPUs of this machine, got {wanted}"
        )
    return chosen
