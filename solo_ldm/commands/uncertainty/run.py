"""The uncertainty that a run predicts: from a run to uncertainty.json, .csv and .png."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from solo_ldm.commands.uncertainty.images import (
    Images,
    batches,
    drawn_views,
    evaluation_views,
    image_sets,
)
from solo_ldm.commands.uncertainty.picture import UncertaintyData, write_uncertainty
from solo_ldm.commands.uncertainty.report import print_uncertainty
from solo_ldm.data.augment.strength import at_strength
from solo_ldm.evaluation.uncertainty import (
    PairScores,
    auroc,
    calibration,
    mean_variance,
    rank_correlation,
    score_pairs,
)
from solo_ldm.files import write_atomically, write_json
from solo_ldm.latents.conditional import ConditionalGaussian, PredictedGaussian
from solo_ldm.run.provenance import commit, hardware_name, versions
from solo_ldm.weights.trained_method import TrainedMethod, load_method

_SCORES = ("variance", "entropy", "negative_log_likelihood")
_PICTURED = 12


@dataclass(frozen=True)
class UncertaintyOutcome:
    """What an evaluation left behind.

    Args:
        folder: where uncertainty.json, uncertainty.csv and uncertainty.png are.
        results: the content of uncertainty.json.
    """

    folder: Path
    results: dict[str, Any]


def run(cfg: DictConfig, console: Console | None = None) -> UncertaintyOutcome:
    """Assess the Gaussians that a run predicts, on its held-out images.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: a key, a value, a run that predicts no covariance, no held-out
            images.
        FileNotFoundError: in one line: a run or data that are not there.
    """
    console = console or Console()
    started = time.perf_counter()
    run = load_method(cfg.run, cfg.accelerator)
    latent = _latent(run)
    latent.at(min(1.0, run.epoch / run.cfg.max_epochs))
    inside, outside = image_sets(cfg, run)
    with console.status("predicting"), torch.inference_mode():
        tables = {images.name: _plain(run, images, cfg) for images in (inside, *outside)}
        pairs = {images.name: _pairs(run, images, cfg) for images in (inside, *outside)}
        by_strength = {
            float(strength): _at_strength(run, inside, float(strength), cfg)
            for strength in sorted(set(cfg.strengths))
        }
    for name, scores in pairs.items():
        of_image = -scores.log_prob.view(cfg.num_draws, -1).mean(dim=0) / scores.error.shape[1]
        tables[name]["negative_log_likelihood"] = of_image
    own = tables[inside.name]
    results = {
        "run": str(run.folder.path),
        "name": run.cfg.name,
        "method": run.cfg.method,
        "dataset": run.cfg.data.dataset,
        "epoch": run.epoch,
        **{f"latent_{key}": value for key, value in _settings(latent).items()},
        "num_images": len(inside.indexes),
        "num_draws": cfg.num_draws,
        "certainty": {name: _quartiles(own[name]) for name in ("variance", "entropy")},
        "calibration": asdict(calibration(pairs[inside.name], list(cfg.levels))),
        "strength": _strength(by_strength),
        "outside": {
            images.name: {name: auroc(own[name], tables[images.name][name]) for name in _SCORES}
            for images in outside
        },
        "seed": cfg.seed,
        "hardware": hardware_name(run.hardware),
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 3),
    }
    folder = Path(cfg.output) if cfg.output else run.folder.path / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "uncertainty.json", results)
    _write_table(folder / "uncertainty.csv", inside, own)
    write_uncertainty(
        folder / "uncertainty.png",
        UncertaintyData(
            title=f"{run.cfg.name}: uncertainty of {len(inside.indexes)} held-out images",
            images=_pictured(run, inside, own["entropy"]),
            results=results,
            by_strength={key: value.mean(dim=0).numpy() for key, value in by_strength.items()},
            entropies={name: table["entropy"].numpy() for name, table in tables.items()},
        ),
    )
    print_uncertainty(results, folder, console)
    return UncertaintyOutcome(folder, results)


def _latent(run: TrainedMethod) -> ConditionalGaussian:
    objective = getattr(run.method, "objective", None)
    latent = getattr(objective, "latent", None)
    if not isinstance(latent, ConditionalGaussian):
        raise ValueError(
            f"{run.folder.path} predicts no covariance: expected a run with "
            "method_kwargs.latent=conditional (--config-name gje), got "
            f"{run.cfg.method_kwargs.get('latent') or run.cfg.method}"
        )
    return latent


def _settings(latent: ConditionalGaussian) -> dict[str, Any]:
    return {
        "covariance": latent.covariance,
        "smallest_std": latent.smallest_std,
        "largest_std": latent.largest_std,
    }


def _plain(run: TrainedMethod, images: Images, cfg: DictConfig) -> dict[str, Tensor]:
    """Return variance and entropy of each image as it is."""
    made = []
    for rows in batches(images, cfg.batch_size):
        gaussian = _predict(run, evaluation_views(run, images, rows))
        made.append(torch.stack([mean_variance(gaussian), gaussian.entropy()]).cpu())
    variance, entropy = torch.cat(made, dim=1)
    return {"variance": variance, "entropy": entropy}


def _pairs(run: TrainedMethod, images: Images, cfg: DictConfig) -> PairScores:
    """Score pairs of views drawn as in training: all images once, then again."""
    made = []
    for draw in range(cfg.num_draws):
        for rows in batches(images, cfg.batch_size):
            first, second = drawn_views(run, images, [images.first, images.second], rows, draw, cfg)
            latents = run.method(second)["z"]
            aims = run.method.targets([second], [latents])
            scores = score_pairs(_predict(run, first), latents if aims is None else aims[0])
            made.append(PairScores(*(part.cpu() for part in scores)))
    return PairScores(*(torch.cat(parts) for parts in zip(*made, strict=True)))


def _at_strength(run: TrainedMethod, images: Images, strength: float, cfg: DictConfig) -> Tensor:
    """Return the predicted variance of views at a strength (num_draws, images)."""
    spec = at_strength(images.first, strength)
    rows = [
        torch.cat(
            [
                mean_variance(
                    _predict(run, *drawn_views(run, images, [spec], rows, draw, cfg))
                ).cpu()
                for rows in batches(images, cfg.batch_size)
            ]
        )
        for draw in range(cfg.num_draws)
    ]
    return torch.stack(rows)


def _strength(by_strength: dict[float, Tensor]) -> dict[str, Any]:
    """Relate predicted variance to the strength of the augmentations.

    The variance of an image at a strength is the mean over its draws. `rank_correlation` is over
    all images at all strengths; of `within_image`, each image's strengths are ranked by themselves
    and the correlations averaged, since images differ in variance as they are.
    """
    strengths = torch.tensor(list(by_strength)).double()
    variance = torch.stack([value.double().mean(dim=0) for value in by_strength.values()])
    spread = strengths[:, None].expand_as(variance)
    of_image = [rank_correlation(strengths, one) for one in variance.unbind(dim=1)]
    return {
        "rank_correlation": rank_correlation(spread.flatten(), variance.flatten()),
        "within_image": float(np.mean(of_image)),
        "strengths": strengths.tolist(),
        "median_variance": variance.median(dim=1).values.tolist(),
    }


def _predict(run: TrainedMethod, views: Tensor) -> PredictedGaussian:
    latents = run.method(views)["z"]
    predicted = run.method.predictor(latents)
    return run.method.objective.latent.gaussian(predicted, latents.shape[1])


def _quartiles(values: Tensor) -> dict[str, float]:
    levels = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=values.dtype)
    names = ("least", "lower_quartile", "median", "upper_quartile", "most")
    return dict(zip(names, values.quantile(levels).tolist(), strict=True))


def _pictured(
    run: TrainedMethod, images: Images, entropy: Tensor
) -> dict[str, list[tuple[np.ndarray, float]]]:
    """Return the most and the least certain images (H, W, 3) in [0, 1], with their entropies."""
    order = entropy.argsort().tolist()
    count = min(_PICTURED, len(order) // 2)
    chosen = {"most certain": order[:count], "least certain": order[: -count - 1 : -1]}
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (run.data.mean, run.data.std))
    pictured = {}
    for name, places in chosen.items():
        views = evaluation_views(run, images, images.indexes[places].tolist()).cpu()
        pixels = (views * std + mean).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        pictured[name] = [(one, float(entropy[i])) for one, i in zip(pixels, places, strict=True)]
    return pictured


def _write_table(path: Path, images: Images, table: dict[str, Tensor]) -> None:
    """Write a row an image: its number in the held-out set, its label and its uncertainty."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["index", "label", *_SCORES])
            for row, index in enumerate(images.indexes.tolist()):
                values = (f"{table[name][row].item():.6g}" for name in _SCORES)
                writer.writerow([index, int(images.source.labels[index]), *values])

    write_atomically(path, write)
