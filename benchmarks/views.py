"""Time of the objective of many views, with its gradients: the mean over all pairs, linear or not.

    python benchmarks/views.py [--views 2 4 8 16 32] [--batch 256] [--dim 128] [--write]

Beside `LDMObjective.of_views`: the same mean as a loop over pairs, each of them a call of the
objective. One thread of the processor, its own time. --write updates docs/losses.md.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from common import ROOT, Figures, parser, publish, wide_console
from rich.progress import track
from torch import Tensor

from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS
from solo_ldm.objective import LDMObjective
from solo_ldm.run.record import hardware_name

# Latent model, estimator and what it is taken over; the last is quadratic in both.
CELLS = (
    ("plane", "kernel", "marginal"),
    ("plane", "logdet", "marginal"),
    ("sphere", "kernel", "marginal"),
    ("sphere", "neighbour", "marginal"),
    ("sphere", "coding_rate", "marginal"),
    ("mean_direction", "coding_rate", "marginal"),
    ("sphere", "kernel", "joint"),
)
_SECONDS = 0.2


def by_pairs(objective: LDMObjective, views: Sequence[Tensor]) -> Tensor:
    """Return the mean loss of all pairs, a call for each."""
    losses = [objective(one, other).loss for one, other in itertools.combinations(views, 2)]
    return torch.stack(losses).mean()


def milliseconds(loss: Callable[[list[Tensor]], Tensor], views: list[Tensor]) -> float:
    """Return the median time of a loss with its gradients, in milliseconds of the processor."""

    def once() -> float:
        start = time.process_time()
        torch.autograd.grad(loss(views), views)
        return time.process_time() - start

    once()
    times = [once()]
    while sum(times) < _SECONDS and len(times) < 20:
        times.append(once())
    return 1e3 * statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cells, print their table and, with --write, update the page."""
    options = parser(__doc__)
    options.add_argument("--views", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--dim", type=int, default=128)
    options.add_argument("--write", action="store_true", help="update docs/losses.md")
    args = options.parse_args(arguments)
    console, threads, rows = wide_console(), torch.get_num_threads(), []
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        for names in track(CELLS, "cells", console=console, transient=True):
            latent, entropy, over = names
            model = LATENTS[latent]()
            objective = LDMObjective(model, ENTROPIES[entropy](model.support), over)  # pyright: ignore
            base = torch.randn(args.batch, args.dim)
            for count in args.views:
                noisy = (base + 0.3 * torch.randn_like(base) for _ in range(count))
                views = [model.project(one).requires_grad_() for one in noisy]
                linear = milliseconds(lambda z, of=objective: of.of_views(z, len(z)).loss, views)
                pairs = milliseconds(lambda z, of=objective: by_pairs(of, z), views)
                figures = f"{linear:.4g}", f"{pairs:.4g}", f"{pairs / linear:.1f}"
                rows.append([latent, entropy, over, count, *figures])
    finally:
        torch.set_num_threads(threads)
    about = (
        f"Milliseconds of the loss of {args.batch} samples of {args.dim} dimensions with its "
        f"gradients, median. By the pair: a call of the objective for each pair of views. "
        f"{hardware_name()}, processor time of one thread, torch {torch.__version__}."
    )
    heads = ["latent", "entropy", "over", "views", "ms", "ms by the pair", "ratio"]
    page = ROOT / "docs" / "losses.md"
    publish([Figures(heads, rows, about)], page, "views", "views.py", args, console)


if __name__ == "__main__":
    main()
