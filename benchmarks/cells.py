"""Train the twelve cells of the grid on digits and write the table and the picture of the docs.

    python benchmarks/cells.py [--seeds 3] [--jobs 2] [--write] [key=value ...]

Each cell is the packaged config with entropy and over overridden. Finished runs are not repeated:
stopped in the middle, the command goes on where it was. --write puts the table into README.md and
the picture beside it in docs/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.run.folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
METHODS = {"gaussprob": "plane", "sphereprob": "sphere"}
ENTROPIES = ("kernel", "neighbour", "logdet")
OVERS = ("joint", "marginal")
CELLS = list(itertools.product(METHODS, ENTROPIES, OVERS))
PROTOCOLS = ("knn-20", "linear-features")
START, END = "<!-- cells: made by benchmarks/cells.py -->", "<!-- /cells -->"
COLOURS = {"joint": "#3f90da", "marginal": "#ffa90e"}


def cell_config(cell: tuple[str, str, str], seed: int, overrides: list[str]) -> DictConfig:
    """Compose the configuration of one run."""
    method, entropy, over = cell
    chosen = [
        f"method_kwargs.entropy={entropy}",
        f"method_kwargs.over={over}",
        f"seed={seed}",
        f"name={entropy}-{over}-seed{seed}",
        *overrides,
    ]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose(method, overrides=chosen)


def finished(cfg: DictConfig) -> dict[str, Any] | None:
    """Return the results of an earlier run of the same name, if there are some."""
    for path in sorted(Path(cfg.checkpoint.dir, cfg.method).glob(f"{cfg.name}-*")):
        if RunFolder(path).finished:
            return json.loads(RunFolder(path).results.read_text())
    return None


def run_cell(cfg: DictConfig, threads: int) -> dict[str, Any]:
    """Train one cell unless it was; return its results."""
    torch.set_num_threads(threads)
    found = finished(cfg)
    if found is None:
        outcome = pretrain(cfg, Console(quiet=True))
        assert outcome is not None, "a cell trains in one process"
        found = outcome.results
    return found


def train(
    seeds: int, jobs: int, overrides: list[str], console: Console
) -> dict[tuple[str, ...], list[Any]]:
    """Return the results of every cell, one entry a seed."""
    results: dict[tuple[str, ...], list[Any]] = {cell: [] for cell in CELLS}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [
            (cell, pool.submit(run_cell, cell_config(cell, seed, overrides), threads))
            for seed, cell in itertools.product(range(seeds), CELLS)
        ]
        for cell, future in track(futures, "cells", console=console):
            results[cell].append(future.result())
    return results


def spread(values: list[float]) -> str:
    """Write percentages as mean ± standard deviation."""
    percent = [100 * value for value in values]
    deviation = f" ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{statistics.mean(percent):.1f}{deviation}"


def table(results: dict[tuple[str, ...], list[Any]]) -> str:
    """Return the Markdown table with its protocol beneath."""
    lines = [
        "| config | latent | entropy | over | knn-20 | linear-features | effective rank |",
        "|---|---|---|---|---|---|---|",
    ]
    for (method, entropy, over), runs in results.items():
        scores = [spread([run["results"][name]["top1"] for run in runs]) for name in PROTOCOLS]
        rank = statistics.mean(run["health"]["z_effective_rank"] for run in runs)
        cells = [method, METHODS[method], entropy, over, *scores, f"{rank:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    everything = [run for runs in results.values() for run in runs]
    untrained = [
        spread([run["results"][name]["untrained_top1"] for run in everything]) for name in PROTOCOLS
    ]
    one = everything[0]
    lines += [
        f"| | untrained | | | {untrained[0]} | {untrained[1]} | |",
        "",
        f"Top-1 in percent on the {one['num_val_images']} held-out digits, mean ± standard "
        f"deviation over {len(everything) // len(CELLS)} seeds; {one['backbone']}, "
        f"{one['epochs']} epochs, batch {one['batch_size']}, {one['hardware']}, "
        f"solo_ldm {one['versions']['solo_ldm']}, torch {one['versions']['torch']}, "
        f"{one['finished'][:10]}. Effective rank is that of the latents (of "
        f"{one['settings']['proj_output_dim']}).",
    ]
    return "\n".join(lines)


def picture(results: dict[tuple[str, ...], list[Any]], path: Path) -> None:
    """Draw top-1 of every cell, each seed a point, against the untrained backbone."""
    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, protocol in zip(axes, PROTOCOLS, strict=True):
        for row, (method, entropy) in enumerate(itertools.product(METHODS, ENTROPIES)):
            for offset, over in ((-0.14, "joint"), (0.14, "marginal")):
                runs = results[method, entropy, over]
                values = [100 * run["results"][protocol]["top1"] for run in runs]
                axis.scatter(
                    values,
                    [row + offset] * len(values),
                    color=COLOURS[over],
                    label=over if row == 0 else None,
                    s=36,
                    alpha=0.85,
                )
        everything = [run for runs in results.values() for run in runs]
        base = statistics.mean(r["results"][protocol]["untrained_top1"] for r in everything)
        axis.axvline(100 * base, color="#6b6f76", linestyle="--", linewidth=1.2)
        axis.text(100 * base, -0.62, " untrained", ha="left", va="center", color="#6b6f76")
        axis.set_title(protocol, loc="left", weight="bold")
        axis.set_xlabel("top-1 on held-out digits (%)")
        axis.grid(axis="x", color="#e3e5e8")
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_ylim(5.6, -0.9)
    names = [f"{METHODS[m]}, {e}" for m, e in itertools.product(METHODS, ENTROPIES)]
    axes[0].set_yticks(range(len(names)), names)
    axes[0].legend(title="entropy over", frameon=False, loc="lower left", bbox_to_anchor=(0.08, 0))
    figure.savefig(path)


def main() -> None:
    """Train, print the table and, with --write, update the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    parser.add_argument("--write", action="store_true", help="update README.md and docs/")
    parser.add_argument("overrides", nargs="*", help="key=value, for every run")
    args = parser.parse_args()
    console = Console()
    fixed = ["checkpoint.dir=trained_models/cells", "evaluation.report=false"]
    if args.jobs > 1:
        # The cores are taken; and loaders would start their workers by spawning, seconds each.
        fixed.append("data.num_workers=0")
    results = train(args.seeds, args.jobs, [*fixed, *args.overrides], console)
    text = table(results)
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    if args.write:
        picture(results, ROOT / "docs" / "cells.png")
        readme = ROOT / "README.md"
        before, _, rest = readme.read_text().partition(START)
        after = rest.partition(END)[2]
        readme.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")
        console.print("wrote README.md and docs/cells.png")


if __name__ == "__main__":
    main()
