"""Time every cell's loss with gradients against a direct pairwise implementation.

    python benchmarks/losses.py [--batch 256] [--dim 2048] [--device cpu] [--csv FILE]

The peer evaluates the Gaussian kernel for each pair of samples under two nested vmaps, as the
authors' code does (B×B×D numbers in memory); it is timed in the same run, so that ratios hold on
noisy machines.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from common import Figures, parser, wide_console
from rich.progress import track
from torch import Tensor

from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS
from solo_ldm.objective import LDMObjective


def pairwise_kernel_loss(z1: Tensor, z2: Tensor, precision: float = 5.0) -> Tensor:
    """The Gaussian kernel loss, marginal, from the definition: one density per pair."""

    def density(x: Tensor, centre: Tensor) -> Tensor:
        return torch.exp(-precision * (x - centre).square().mean())

    over_centres = torch.vmap(density, in_dims=(None, 0))
    over_pairs = torch.vmap(over_centres, in_dims=(0, None))
    entropy = sum(-torch.log(over_pairs(z, z).sum(dim=1) + 1e-8).mean() for z in (z1, z2))
    return precision * (z1 - z2).square().mean(dim=1).mean() - entropy


def milliseconds(
    loss: Callable[[Tensor, Tensor], Tensor], views: list[Tensor], repeats: int
) -> float:
    """Median time of the loss and its gradients, after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        leaves = [view.clone().requires_grad_() for view in views]
        _wait(views[0].device)
        start = time.perf_counter()
        loss(*leaves).backward()
        _wait(views[0].device)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of milliseconds per loss with gradients and ratios to the peer."""
    options = parser(__doc__)
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--dim", type=int, default=2048)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--repeats", type=int, default=10)
    args = options.parse_args(arguments)
    torch.manual_seed(0)
    views = [torch.randn(args.batch, args.dim, device=args.device) for _ in range(2)]

    console = wide_console()
    console.print(
        f"batch {args.batch}, dimension {args.dim}, {args.device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    with console.status("pairwise peer"):
        peer = milliseconds(pairwise_kernel_loss, views, repeats=3)
    rows = [["plane", "kernel, pairwise", "marginal", f"{peer:.2f}", "1"]]
    cells = [
        (support, name, over)
        for support in ("plane", "sphere")
        for name, kind in ENTROPIES.items()
        for over in ("joint", "marginal")
        if support in kind.supports
    ]
    for support, name, over in track(cells, console=console, transient=True):
        latent = LATENTS[support]()
        objective = LDMObjective(latent, ENTROPIES[name](support), over)  # pyright: ignore[reportArgumentType]

        def loss(h1: Tensor, h2: Tensor, objective: LDMObjective = objective) -> Tensor:
            return objective(objective.latent.project(h1), objective.latent.project(h2)).loss

        took = milliseconds(loss, views, args.repeats)
        rows.append([support, name, over, f"{took:.2f}", f"{peer / took:.3g}"])
    heads = ["latent", "entropy", "over", "ms", "times faster than pairwise"]
    Figures(heads, rows).show(console, args.csv)


if __name__ == "__main__":
    main()
