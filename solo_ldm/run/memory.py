"""Memory that a training step takes, and what a CPU keeps from one step to the next."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from solo_ldm.run.hardware import Hardware

# Options of mallopt, in glibc's malloc.h: up to which size freed memory is kept, and how much.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT = {_MMAP_THRESHOLD: 2**28, _TRIM_THRESHOLD: 2**31 - 1}
# What a program comes to by itself when it allocates tensors.
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep what a training step frees for the next one, where it is glibc.

    Else the memory of a step's activations goes back to the system after each step, and is cleared
    and mapped again in the next: a few percent of a step. What is computed stays the same. At the
    end all that is free goes back.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)

    def choose(options: dict[int, int]) -> None:
        for option, value in options.items():
            library.mallopt(option, value)

    choose(_KEPT)
    try:
        yield
    finally:
        choose(_USUAL)
        library.malloc_trim(0)


def step_bytes(method: Any, crop_sizes: Sequence[int], batch_size: int, hardware: Hardware) -> int:
    """Return about how many bytes a training step of images holds at its largest.

    Weights with their gradients and moments, and what the backbone keeps of all crops for the
    backward pass, which grows with the batch. Heads, loss, the library's own buffers and what a
    graphics card reserves come on top.

    Args:
        method: a `BaseMethod`.
        crop_sizes: of each crop, pixels.
        batch_size: images of a step and process.
        hardware: whose precision counts.
    """
    learned = sum(p.numel() * p.element_size() for p in method.parameters() if p.requires_grad)
    fixed = sum(p.numel() * p.element_size() for p in method.parameters()) - learned
    moments = 2 if "adam" in method.cfg.optimizer.name else 1
    channels = method.cfg.backbone.kwargs.get("in_chans", 3)
    kept = {
        size: kept_for_backward(method.backbone, (channels, size, size), hardware.precision)
        for size in {*crop_sizes}
    }
    return round(
        learned * (2 + moments) + fixed + batch_size * sum(kept[size] for size in crop_sizes)
    )


def kept_for_backward(network: nn.Module, shape: Sequence[int], precision: str) -> float:
    """Return the bytes that a network keeps of an image for the backward pass.

    Counted for two and for four images: the difference is that of two images, without the weights.
    Nothing is calculated: tensors have a shape and a type alone.

    Args:
        network: in training mode; called with images (B, *shape).
        shape: of an image.
        precision: Lightning's; activations in half precision take half as much.
    """
    mixed = precision.endswith("mixed")

    def count(images: int) -> int:
        seen: dict[Any, Any] = {}

        def note(x: Tensor) -> Tensor:
            storage = x.untyped_storage()
            seen[storage._cdata] = storage  # held, so that no place is used twice
            return x

        hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda x: x)
        half = torch.autocast("cpu", torch.bfloat16, enabled=mixed)
        with FakeTensorMode(allow_non_fake_inputs=True), hooks, half:
            network(torch.empty(images, *shape))
        return sum(storage.nbytes() for storage in seen.values())

    # Counters of batches are calculated all the same.
    before = {name: value.clone() for name, value in network.named_buffers()}
    try:
        with torch.random.fork_rng([]):
            return (count(4) - count(2)) / 2
    finally:
        for name, value in network.named_buffers():
            value.copy_(before[name])


def free_bytes(device: torch.device) -> int | None:
    """Return what is free on a device; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    # What files occupy is given back on demand: the system counts it as available, not as free.
    info = Path("/proc/meminfo")
    if device.type == "cpu" and info.is_file():
        found = re.search(r"MemAvailable: +(\d+) kB", info.read_text())
        return 1024 * int(found[1]) if found else None
    return None


def memory_of_a_step(
    method: Any, crop_sizes: Sequence[int], batch_size: int, hardware: Hardware
) -> tuple[str, str | None]:
    """Return what a step takes, in words, and a line of warning if that is more than is free.

    Nothing is said of a network that cannot be followed without numbers.
    """
    try:
        needed = step_bytes(method, crop_sizes, batch_size, hardware)
    except Exception:
        return "", None
    free = free_bytes(hardware.device)
    words = f", about {needed / 1e9:.2g} GB a step"
    if free is None or needed < free:
        return words, None
    return words, (
        f"a step takes about {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB are free on "
        f"{hardware.device}: lower optimizer.batch_size, and raise accumulate_grad_batches with "
        "statistics=whole for the same loss"
    )
