"""How well categories name the digits, by the share of pairs that match, for each objective.

    python benchmarks/categories.py [--seeds 3] [--jobs 2] [--write]

The study of the paper on scikit-learn's digits instead of MNIST: pairs of images of one class
without augmentation, ten categories, AdamW. The model takes for the match probability what the
data have (0.99 where all match). Finished runs are not repeated: after an interruption the command
continues. --write puts the table into docs/methods.md and the picture beside it.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from common import ROOT, Figures, parser, publish, spread, wide_console, workers
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from solo_ldm.backbones import create_backbone
from solo_ldm.data.augment.pairs import Partners
from solo_ldm.data.config import DataConfig, ViewSpec
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.evaluation.clusters import score_clusters
from solo_ldm.files import write_json
from solo_ldm.methods.ldm.heads import perceptron
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective
from solo_ldm.plotting.page import new_figure, save
from solo_ldm.plotting.style import COLOURS, INK, MARKERS, MUTED, grid_along, styled
from solo_ldm.run.record import provenance

FOLDER = Path("trained_models/categories")
SHARES = (0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
OBJECTIVES: dict[str, dict[str, Any]] = {
    "exact": {"latent": "categorical", "over": "joint"},
    "approximate": {"latent": "categorical", "over": "pooled", "entropy_weight": 2.0},
    "mutual information": {"latent": "categorical_fitted", "over": "marginal"},
}


@dataclass(frozen=True)
class Trial:
    """One run, complete.

    Args:
        objective: a name in `OBJECTIVES`.
        share: of the pairs that match.
        seed: of the weights, the order, the pairs and which images are held out.
        epochs: of the training images.
        batch_size: pairs a step.
        width: channels of the backbone's first layer.
        learning_rate: of AdamW, falling to zero with a cosine.
        first_match_probability: that the temperature starts from.
    """

    objective: str
    share: float
    seed: int
    epochs: int = 30
    batch_size: int = 128
    width: int = 8
    learning_rate: float = 0.004
    first_match_probability: float = 0.3

    @property
    def path(self) -> Path:
        """Where its results are."""
        name = f"{self.objective.replace(' ', '-')}-{self.share:g}-seed{self.seed}.json"
        return FOLDER / name


def finished(trial: Trial) -> dict[str, Any] | None:
    """Return the results of an earlier run of the same settings, if there are some."""
    if not trial.path.is_file():
        return None
    found = json.loads(trial.path.read_text())
    return found if found["trial"] == asdict(trial) else None


def images_of(data: ImageDataModule, split: str) -> tuple[Tensor, Tensor]:
    """Return all images of a split as they are (N, 3, 16, 16), and their labels (N,)."""
    parts = list(data.evaluation_dataloader(split))  # pyright: ignore[reportArgumentType]
    images, labels = (torch.cat(one) for one in zip(*parts, strict=True))
    return images, labels


def build(trial: Trial) -> tuple[nn.Module, LDMObjective]:
    """Return backbone with projector, and the objective."""
    backbone = create_backbone("convnet_small", 16, width=trial.width)
    num_features = int(getattr(backbone, "num_features", 0))
    projector = perceptron(num_features, 128, 10, 2, True, False)
    kwargs = {"entropy": "plug_in", **OBJECTIVES[trial.objective]}
    if kwargs["latent"] == "categorical":
        kwargs["match_probability"] = min(trial.share, 0.99)
        kwargs["first_match_probability"] = trial.first_match_probability
    objective = resolve({"proj_hidden_dim": 128, "proj_output_dim": 10, **kwargs}).build_objective()
    assert isinstance(objective, LDMObjective), "categories are one block"
    return nn.Sequential(backbone, projector), objective


def run(trial: Trial) -> dict[str, Any]:
    """Train one network unless it was; return its results."""
    found = finished(trial)
    if found is not None:
        return found
    started = time.perf_counter()
    torch.manual_seed(trial.seed)
    view = ViewSpec(crop_size=16, num_crops=1)
    config = DataConfig("digits", num_workers=0, format="torchvision")
    data = ImageDataModule(config, [view], trial.batch_size, trial.seed)
    images, labels = images_of(data, "train")
    partners = Partners(labels.numpy(), trial.share, trial.seed, "digits")
    sampler = EpochSampler(len(images), trial.batch_size, trial.seed)
    network, objective = build(trial)
    steps = trial.epochs * sampler.num_steps
    optimizer = torch.optim.AdamW(network.parameters(), trial.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    step, loss = 0, torch.zeros(())
    for epoch in range(trial.epochs):
        sampler.set_epoch(epoch)
        order = torch.tensor([index for _, index in sampler]).view(-1, trial.batch_size)
        for rows in order:
            objective.at(step / steps, step)
            others = torch.from_numpy(partners(epoch, rows.numpy()))
            h = network(torch.cat([images[rows], images[others]]))
            z1, z2 = objective.latent.project(h).chunk(2)
            loss = objective(z1, z2).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    network.eval()
    held_out, true = images_of(data, "val")
    with torch.inference_mode():
        z = objective.latent.project(network(held_out)).double()
    scores = score_clusters(z.argmax(dim=1).numpy(), true.numpy(), 10, 10)
    results = {
        "trial": asdict(trial),
        **asdict(scores),
        "mean_entropy": float(torch.special.entr(z).sum(dim=1).mean()),
        "loss": loss.item(),
        **provenance(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    trial.path.parent.mkdir(parents=True, exist_ok=True)
    write_json(trial.path, results)
    return results


def run_all(trials: list[Trial], jobs: int, console: Console) -> list[dict[str, Any]]:
    """Return the results of all trials, showing how far they are."""

    def watched(results: Iterable[Any]) -> list[Any]:
        return list(track(results, "categories", total=len(trials), console=console))

    with workers(jobs, threads=1) as pool:
        return watched(pool.map(run, trials))


def grouped(results: list[dict[str, Any]]) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """Return the results by objective and share."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for one in results:
        groups.setdefault((one["trial"]["objective"], one["trial"]["share"]), []).append(one)
    return groups


def table(results: list[dict[str, Any]]) -> Figures:
    """Return the table."""
    groups = grouped(results)
    rows = []
    for share in SHARES:
        cells = []
        for objective in OBJECTIVES:
            runs = groups[objective, share]
            used = statistics.mean(one["num_used"] for one in runs)
            cells.append(f"{spread([one['accuracy'] for one in runs], factor=100)} ({used:.1f})")
        rows.append([f"{100 * share:g} %", *cells])
    one, seeds = results[0], len({one["trial"]["seed"] for one in results})
    about = (
        f"Accuracy in percent of the categories on {one['num_images']} held-out digits, each "
        f"named by a class, mean ± standard deviation over {seeds} seeds (in brackets: categories "
        f"used); convnet_small of width {one['trial']['width']}, {one['trial']['epochs']} epochs, "
        f"batch {one['trial']['batch_size']}, no augmentation, solo_ldm "
        f"{one['versions']['solo_ldm']}, torch {one['versions']['torch']}."
    )
    return Figures(["pairs that match", *OBJECTIVES], rows, about)


@styled
def picture(results: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy by share for each objective, each seed a point and their mean a line."""
    title = "Categories that name the digits"
    figure = new_figure(9.0, 5.0, 110, title)
    axes = figure.add_axes((0.085, 0.13, 0.885, 0.7))
    groups = grouped(results)
    for number, objective in enumerate(OBJECTIVES):
        offset = 0.12 * (number - 1)
        colour = COLOURS[number]
        means = []
        for place, share in enumerate(SHARES):
            values = [100 * one["accuracy"] for one in groups[objective, share]]
            means.append(statistics.mean(values))
            axes.scatter([place + offset] * len(values), values, s=26, color=colour, alpha=0.5)
        places = [place + offset for place in range(len(SHARES))]
        axes.plot(places, means, color=colour, marker=MARKERS[number], label=objective)
    axes.axhline(10, color=MUTED, linestyle="--", linewidth=1)
    axes.text(len(SHARES) - 0.6, 11, "chance", color=MUTED, size=10, ha="right")
    axes.set_xticks(range(len(SHARES)), [f"{100 * share:g} %" for share in SHARES])
    axes.set_xlabel("pairs of images that are of one class", color=MUTED)
    axes.set_ylabel("accuracy of the categories (%)", color=MUTED)
    axes.set_ylim(0, 103)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.12))
    grid_along(axes, "y")
    figure.text(0.085, 0.93, title, size=15, weight="bold", color=INK)
    note = "ten categories on held-out images; points are seeds, lines their means"
    figure.text(0.085, 0.875, note, size=10.5, color=MUTED)
    save(path, figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the table and, with --write, update the docs."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=1, help="runs at a time, a core each")
    options.add_argument("--write", action="store_true", help="update docs/")
    options.add_argument("--epochs", type=int, default=Trial.epochs)
    args = options.parse_args(arguments)
    console = wide_console()
    grid = itertools.product(range(args.seeds), SHARES, OBJECTIVES)
    trials = [Trial(name, share, seed, epochs=args.epochs) for seed, share, name in grid]
    results = run_all(trials, args.jobs, console)
    page = ROOT / "docs" / "methods.md"
    publish([table(results)], page, "categories", "categories.py", args, console)
    console.print(f"runs in {FOLDER}", soft_wrap=True, highlight=False, markup=False)
    if args.write:
        picture(results, ROOT / "docs" / "categories.png")
        console.print("wrote docs/categories.png")
    else:
        console.print("next: the same with --write, or solo-ldm pretrain --config-name categorical")


if __name__ == "__main__":
    main()
