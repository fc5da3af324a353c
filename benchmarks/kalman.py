"""Time one training step through the Kalman filter against other filters.

    python benchmarks/kalman.py [--reference CHECKOUT] [--rounds 5] [--threads 2] [--write]

A step is the filter, the stop-gradient loss −Σ_t log p(z_t | z_<t) and its gradients with respect
to transition, offset, noises and observations. The direct peer loops over time in float32 with a
covariance for every sample and inverts every matrix, as the authors' code does; --reference times
that code itself, with latents in place of its encoder. On the CPU dynamax (in JAX, compiled), Pyro
and torch-kf are peers where they are installed: pip install dynamax pyro-ppl torch-kf. Peers take
turns, so that ratios hold on noisy machines. --write puts the table into docs/kalman.md.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import ROOT, Figures, parser, publish, wide_console
from kalman_peers import (
    Leaves,
    direct_loss,
    dynamax_step,
    load_reference,
    pyro_loss,
    reference_step,
    torch_kf_loss,
)
from rich.progress import Progress
from torch import Tensor

from predictive.filtering import StateSpaceModel, log_density, predict_observations
from solo_ldm.run.record import cpu_name

# Batch, steps, latents, states: first those of trainings, then a grid.
SIZES = (
    *((8, 100, 5, 10), (64, 400, 8, 16), (32, 100, 24, 24), (1, 10_000, 8, 16)),
    *((64, 100, 1, 2), (8, 1000, 1, 2), (1, 10_000, 1, 2), (64, 10_000, 1, 2), (1, 100_000, 1, 2)),
    *((1, 100, 4, 8), (64, 100, 4, 8), (8, 1000, 4, 8), (1, 10_000, 4, 8), (1, 100_000, 4, 8)),
    *((64, 100, 16, 32), (8, 1000, 16, 32), (1, 10_000, 16, 32)),
    *((1, 100, 64, 128), (64, 100, 64, 128), (8, 1000, 64, 128)),
)
OURS, SEPARATE, DIRECT, AUTHORS = "ours", "ours, noise varies", "direct", "the authors'"
DYNAMAX, PYRO, TORCH_KF = "dynamax", "Pyro", "torch-kf"
# The modules and packages of the peers that are taken from PyPI.
LIBRARIES = {
    DYNAMAX: ("dynamax", ("dynamax", "jax")),
    PYRO: ("pyro", ("pyro-ppl",)),
    TORCH_KF: ("torch_kf", ("torch-kf",)),
}
# A step is left out where it would keep more values of covariances than this for the gradient, or
# call torch for more steps of a loop than that.
_MOST_VALUES = 20_000_000
_MOST_LOOPS = {DIRECT: 1000, AUTHORS: 1000, TORCH_KF: 10_000}
_LONGEST = 3.0  # seconds; a step that takes longer is timed once


class Timing(NamedTuple):
    """What was measured of a filter: median milliseconds, the loss, and if one step was all."""

    milliseconds: float
    loss: float
    once: bool


def random_leaves(
    batch: int, steps: int, latents: int, states: int, device: torch.device
) -> Leaves:
    """Return leaves of a stable model with noises of variance one."""
    values = Leaves(
        torch.randn(batch, steps, latents),
        0.9 * torch.linalg.qr(torch.randn(states, states)).Q,
        0.1 * torch.randn(states),
        torch.zeros(states),
        torch.zeros(latents),
        torch.zeros(batch, steps, latents),
    )
    return Leaves(*(x.to(device).requires_grad_() for x in values))


def filter_loss(leaves: Leaves, log_noise: Tensor) -> Tensor:
    """Return the loss with our filter; the noise is common to the samples, or not."""
    z, states, latents = leaves.observations, len(leaves.offset), leaves.observations.shape[2]
    model = StateSpaceModel(
        z.new_zeros(states),
        torch.eye(states, device=z.device),
        leaves.transition,
        leaves.offset,
        torch.eye(latents, states, device=z.device),
        leaves.log_process.exp(),
        log_noise.exp(),
    )
    return -log_density(z.detach(), predict_observations(model, z)).sum(dim=1).mean()


def fits(name: str, batch: int, steps: int, states: int) -> bool:
    """Return whether a filter is timed at a size: what it stores, and how long it loops."""
    each = batch if name in (SEPARATE, DIRECT, AUTHORS) else 1
    pair = 4 if name == PYRO else 1  # its matrices are those of two states
    stored = 0 if name == OURS else each * pair * steps * states**2
    return stored <= _MOST_VALUES and steps <= _MOST_LOOPS.get(name, steps)


def measure(
    peers: dict[str, Callable[[], Any]], rounds: int, seconds: float, progress: Progress
) -> dict[str, Timing]:
    """Return what was measured of each peer, in turns."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    losses: dict[str, float] = {}
    slow = set()
    task = progress.add_task("", total=rounds * len(peers))
    for _ in range(rounds):
        for name, loss in peers.items():
            progress.update(task, description=name, advance=1)
            if name not in losses:
                first: list[float] = []  # slower than others: it counts only if it is the only one
                losses[name] = _step(loss, first)
                if first[0] > 1e3 * _LONGEST:
                    times[name] = first
                    slow.add(name)
            spent = 0.0
            while name not in slow and spent < seconds:
                _step(loss, times[name])
                spent += 1e-3 * times[name][-1]
    progress.remove_task(task)
    return {
        name: Timing(statistics.median(took), losses[name], name in slow)
        for name, took in times.items()
    }


def _step(loss: Callable[[], Any], times: list[float]) -> float:
    _wait()
    start = time.perf_counter()
    value = loss()
    if isinstance(value, Tensor):
        value.backward()
    _wait()
    times.append(1e3 * (time.perf_counter() - start))
    return float(value.detach() if isinstance(value, Tensor) else value)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def cores(number: int | None) -> Iterator[None]:
    """Keep to so many cores, JAX as well, whose threads are as many as the cores it may use."""
    if number is None:
        yield
        return
    before, had = torch.get_num_threads(), os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(had)[:number])
    torch.set_num_threads(number)
    try:
        yield
    finally:
        os.sched_setaffinity(0, had)
        torch.set_num_threads(before)


def row(size: tuple[int, ...], names: list[str], found: dict[str, Timing], more: str) -> list[str]:
    """Return a row of the table."""
    cells = []
    for name in names:
        took = found.get(name)
        cells.append("–" if took is None else f"{took.milliseconds:,.1f}{' (once)' * took.once}")
    others = [took.milliseconds for name, took in found.items() if name not in (OURS, SEPARATE)]
    ratio = f"{min(others) / found[OURS].milliseconds:.1f}" if others else "–"
    loss = found[OURS].loss
    differ = max(abs(took.loss / loss - 1.0) for took in found.values())
    return [*(f"{value:,}" for value in size), *cells, ratio, f"{differ:.0e}", more]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of milliseconds a training step and, with --write, update the docs."""
    options = parser(__doc__)
    options.add_argument("--reference", type=Path, help="a checkout of the authors' code")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=0.3, help="of a peer in each round")
    options.add_argument("--threads", type=int, help="cores to keep to (Linux)")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--write", action="store_true", help="update docs/kalman.md")
    args = options.parse_args(arguments)
    torch.manual_seed(0)
    reference = None if args.reference is None else load_reference(args.reference)
    device = torch.device(args.device)
    there = [
        name
        for name, (module, _) in LIBRARIES.items()
        if device.type == "cpu" and find_spec(module) is not None
    ]
    names = [OURS, SEPARATE, DIRECT, *([AUTHORS] if reference else []), *there]
    rows = []
    console = wide_console()
    with cores(args.threads), Progress(console=console, transient=True) as progress:
        for size in progress.track(SIZES, description="sizes"):
            leaves = random_leaves(*size, device)
            makers: dict[str, Callable[[], Any]] = {
                OURS: lambda x=leaves: filter_loss(x, x.log_noise),
                SEPARATE: lambda x=leaves: filter_loss(x, x.log_noises),
                DIRECT: lambda x=leaves: direct_loss(x),
                PYRO: lambda x=leaves: pyro_loss(x),
                TORCH_KF: lambda x=leaves: torch_kf_loss(x),
            }
            batch, steps, _, states = size
            timed = [name for name in names if fits(name, batch, steps, states)]
            compiling = ""
            if DYNAMAX in timed:
                makers[DYNAMAX], seconds = dynamax_step(leaves)
                compiling = f"{seconds:.1f}"
            if AUTHORS in timed and reference:
                makers[AUTHORS] = reference_step(leaves, *reference)
            peers = {name: makers[name] for name in timed}
            found = measure(peers, args.rounds, args.seconds, progress)
            rows.append(row(size, names, found, compiling or "–"))
        threads = torch.get_num_threads()
    heads = ["batch", "steps", "latents", "states", *names]
    heads += ["fastest other / ours", "losses differ by", "dynamax compiles, s"]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    packages = ["torch", *(package for name in there for package in LIBRARIES[name][1])]
    versions = ", ".join(f"{package} {version(package)}" for package in ("solo-ldm", *packages))
    about = (
        f"Milliseconds a step, medians over {args.rounds} turns of {args.seconds:g} s a filter; "
        f"once: one step took over {_LONGEST:g} s; –: not timed, see above. {name}, {threads} "
        f"threads, {versions}, {datetime.now(timezone.utc):%Y-%m-%d}."
    )
    publish([Figures(heads, rows, about)], ROOT / "docs/kalman.md", "kalman", "kalman.py", args,
            console)  # fmt: skip


if __name__ == "__main__":
    main()
