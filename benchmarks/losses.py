"""Time and memory of every entropy with its gradients, for batches from small to very large.

    python benchmarks/losses.py [--batch 256 4096 65536] [--dim 256 2048] [--limit SECONDS]
                                [--device cpu] [--write]

Beside ours: the matrix products alone that a value and its gradients need, the definition in plain
torch, lightly's NT-Xent and the tiles of Inf-CL. Each row is a process of its own, whose largest
memory is that of the row; what would not fit, or does not end within --limit, is left out. --write
updates docs/losses.md.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from common import ROOT, Figures, parser, publish, wide_console
from rich.progress import track
from torch import Tensor

from solo_ldm.entropy import ENTROPIES
from solo_ldm.run.record import hardware_name

OURS = {
    "kernel, plane": ("kernel", "plane"),
    "kernel, sphere": ("kernel", "sphere"),
    "neighbour": ("neighbour", "plane"),
    "logdet": ("logdet", "plane"),
    "coding_rate": ("coding_rate", "plane"),
    "redundancy": ("redundancy", "plane"),
    "sliced": ("sliced", "plane"),
}
PRODUCTS = {
    "products of pairs": ("kernel, plane", "kernel, sphere", "neighbour", "kernel, definition"),
    "products of features": ("logdet", "coding_rate", "redundancy"),
}
PEERS = ("kernel, definition", "NT-Xent, lightly", "NT-Xent, tiles of Inf-CL")
# Their time grows with the square of the batch.
OF_PAIRS = ("products of pairs", "kernel, plane", "kernel, sphere", "neighbour", *PEERS)
ROWS = (*PRODUCTS, *OURS, *PEERS)
SIZES = (256, 1024, 4096, 16384, 65536)
_TILE = 1024
_TEMPERATURE = 0.2


def products_of_pairs(z: Tensor) -> Tensor:
    """XXᵀ and its product with X, some rows at a time, in float64."""
    x = z.detach().double()
    total = x.new_zeros(())
    for rows in x.split(_TILE):
        total += (rows @ x.T @ x).sum()
    return total


def products_of_features(z: Tensor) -> Tensor:
    """XᵀX and X times it, or with fewer samples than features XXᵀ and it times X, in float64."""
    x = z.detach().double()
    return (x @ (x.T @ x) if len(x) >= x.shape[1] else (x @ x.T) @ x).sum()


def definition(z: Tensor) -> Tensor:
    """The kernel entropy on the sphere as it is written, in float64."""
    x = z.double()
    return -torch.logsumexp(x @ x.T / _TEMPERATURE, dim=1).mean()


class _Tiles(torch.autograd.Function):
    """InfoNCE of pairs by tiles of the matrix of logits, made again in the backward pass.

    Written from the description of Inf-CL, arXiv 2410.17243, section 3; float32.
    """

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        sums = []
        for rows in a.split(_TILE):
            total = rows.new_full((len(rows),), -torch.inf)
            for columns in b.split(_TILE):
                part = torch.logsumexp(rows @ columns.T / _TEMPERATURE, dim=1)
                total = torch.logaddexp(total, part)
            sums.append(total)
        log_sum = torch.cat(sums)
        ctx.save_for_backward(a, b, log_sum)
        return (log_sum - (a * b).sum(dim=1) / _TEMPERATURE).mean()

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> Any:
        a, b, log_sum = ctx.saved_tensors
        to_a, to_b = -b, -a
        for i in range(0, len(a), _TILE):
            rows = slice(i, i + _TILE)
            for j in range(0, len(b), _TILE):
                columns = slice(j, j + _TILE)
                logits = a[rows] @ b[columns].T / _TEMPERATURE
                weight = torch.exp(logits - log_sum[rows, None])
                to_a[rows] += weight @ b[columns]
                to_b[columns] += weight.T @ a[rows]
        scale = grad_outputs[0] / (_TEMPERATURE * len(a))
        return to_a * scale, to_b * scale


def tiles(z: Tensor) -> Tensor:
    """Both directions, each against the batch, as CLIP's loss."""
    a, b = z.chunk(2)
    value: Any = _Tiles.apply(torch.cat([a, b]), torch.cat([b, a]))
    return value


def function_of(name: str) -> Callable[[Tensor], Tensor]:
    """Return what is timed: a scalar of samples (B, D)."""
    if name in OURS:
        kind, support = OURS[name]
        return ENTROPIES[kind](support).marginal  # pyright: ignore[reportArgumentType]
    if name == "NT-Xent, lightly":
        loss = importlib.import_module("lightly.loss").NTXentLoss(temperature=_TEMPERATURE)
        return lambda z: loss(*z.chunk(2))
    return {
        "products of pairs": products_of_pairs,
        "products of features": products_of_features,
        "kernel, definition": definition,
        "NT-Xent, tiles of Inf-CL": tiles,
    }[name]


def measure(name: str, batch: int, dim: int, device: str) -> dict[str, float]:
    """Return seconds, the median of some runs, and the bytes that come on top of the samples."""
    timed = function_of(name)
    clock = time.process_time if _alone(device) else time.perf_counter
    torch.manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(batch, dim, device=device))
    z = z if "plane" not in name else z * math.sqrt(dim)

    def once(samples: Tensor) -> float:
        leaf = samples.clone().requires_grad_()
        _wait(device)
        start = clock()
        value = timed(leaf)
        if value.requires_grad:
            value.backward()
        _wait(device)
        return clock() - start

    once(z[: min(batch, 64)])
    before = _largest(device)
    times = [once(z)]
    taken = _largest(device) - before
    while sum(times) < 2.0 and len(times) < 20:
        times.append(once(z))
    return {"seconds": statistics.median(times), "bytes": float(taken)}


def _alone(device: str) -> bool:
    """Return whether one thread does all, whose time is its own whatever else runs."""
    return device == "cpu" and torch.get_num_threads() == 1


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _largest(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fits(name: str, batch: int, device: str) -> bool:
    """Return whether a row that holds matrices of all pairs fits."""
    held = {"kernel, definition": 4 * 8, "NT-Xent, lightly": 6 * 4}.get(name, 0) * batch**2
    if device == "cuda":
        return held < torch.cuda.mem_get_info()[0]
    return held < 0.7 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def in_process(
    name: str, batch: int, dim: int, device: str, limit: float
) -> dict[str, float] | None:
    """Return what `measure` returns, in a new process; None where it cannot be.

    Args:
        name: of the row.
        batch: samples.
        dim: their dimensions.
        device: cpu or cuda.
        limit: seconds after which the process is ended.
    """
    if not fits(name, batch, device):
        return None
    one = ["--one", name, "--batch", str(batch), "--dim", str(dim), "--device", device]
    command = [sys.executable, str(Path(__file__)), *one]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        # The system kills a process that takes more memory than there is.
        if "ModuleNotFoundError" in done.stderr or done.returncode == -signal.SIGKILL:
            return None
        raise RuntimeError(f"{name}, {batch}, {dim}: {done.stderr.splitlines()[-1]}")
    return json.loads(done.stdout)


def foreseen(
    found: Mapping[tuple[int, int, str], dict[str, float] | None], batch: int, dim: int, name: str
) -> float:
    """Return the seconds that a row takes by the largest smaller batch of it; 0 without one."""
    smaller = {
        size: one for (size, *of), one in found.items() if of == [dim, name] and size < batch
    }
    if not smaller:
        return 0.0
    size = max(smaller)
    one = smaller[size]
    if one is None:
        return math.inf
    return one["seconds"] * (batch / size) ** (2 if name in OF_PAIRS else 1)


def table(
    found: dict[tuple[int, int, str], dict[str, float] | None], device: str, limit: float
) -> Figures:
    """Return the table of all sizes."""
    rows = []
    for (batch, dim, name), one in found.items():
        if one is None:
            rows.append([batch, dim, name, "–", "–", "–"])
            continue
        bare = (found.get((batch, dim, key)) for key, of in PRODUCTS.items() if name in of)
        alone = next(bare, None)
        ratio = "" if alone is None else f"{one['seconds'] / alone['seconds']:.2f}"
        memory = f"{one['bytes'] / 1e9:.3f}"
        rows.append([batch, dim, name, f"{1e3 * one['seconds']:.4g}", ratio, memory])
    how = f"{torch.get_num_threads()} threads"
    if _alone(device):
        how = "processor time of one thread"
    heads = ["samples", "dimensions", "", "ms", "times the products alone", "GB"]
    about = (
        "Milliseconds of a value with its gradients, median; GB on top of the samples, the largest "
        "of a process. Products alone: the two that value and gradient need at least, in float64, "
        "of pairs (2 · 2 B² D operations) or of features (2 · 2 B D min(B, D)). NT-Xent is of two "
        "views of half the samples. Ours are in float64, lightly's and Inf-CL's in float32. –: "
        f"matrices of all pairs do not fit, not installed, or not ended within {limit:g} seconds, "
        "or not to end by the time of the batch before. "
        f"{hardware_name() if device == 'cpu' else torch.cuda.get_device_name()}, "
        f"{how}, torch {torch.__version__}."
    )
    return Figures(heads, rows, about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all rows, print their table and, with --write, update the page."""
    options = parser(__doc__)
    options.add_argument("--batch", type=int, nargs="+", default=SIZES)
    options.add_argument("--dim", type=int, nargs="+", default=[256, 2048])
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    options.add_argument("--limit", type=float, default=240.0, help="seconds of a row")
    options.add_argument("--one", help="measure this row alone and print JSON")
    options.add_argument("--write", action="store_true", help="update docs/losses.md")
    args = options.parse_args(arguments)
    if args.one:
        print(json.dumps(measure(args.one, args.batch[0], args.dim[0], args.device)))
        return
    console = wide_console()
    cells = [(batch, dim, name) for batch in args.batch for dim in args.dim for name in args.rows]
    found: dict[tuple[int, int, str], dict[str, float] | None] = {}
    for batch, dim, name in track(cells, "rows", console=console, transient=True):
        one = None
        if foreseen(found, batch, dim, name) < args.limit:
            one = in_process(name, batch, dim, args.device, args.limit)
        found[batch, dim, name] = one
    page = ROOT / "docs" / "losses.md"
    publish([table(found, args.device, args.limit)], page, "losses", "losses.py", args, console)


if __name__ == "__main__":
    main()
