"""The uncertainty that a run predicts: from its weights to results.json, a table and a picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor
from torch.distributions import Distribution

from solo_ldm.commands.shared.inputs import images_since
from solo_ldm.commands.shared.views import Images, pictured, view_specs
from solo_ldm.commands.uncertainty.images import image_sets
from solo_ldm.commands.uncertainty.picture import NUM_PICTURED, write_uncertainty
from solo_ldm.config.places import results_folder
from solo_ldm.data.augment.strength import at_strength
from solo_ldm.evaluation.clusters import most_and_least
from solo_ldm.evaluation.uncertainty import (
    PairScores,
    auroc,
    calibration,
    mean_variance,
    rank_correlation,
    score_pairs,
)
from solo_ldm.files import write_csv, write_json
from solo_ldm.latents.conditional import ConditionalGaussian
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome, print_summary, provenance
from solo_ldm.weights.trained_method import TrainedMethod, load_method

_SCORES = ("variance", "entropy", "negative_log_likelihood")


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Do the work of `solo_ldm.commands.uncertainty`, with the completed configuration."""
    console = plain_console(console)
    started = time.perf_counter()
    trained = load_method(cfg.pretrained_feature_extractor, cfg.accelerator, cfg.data)
    for notice in (*trained.data.notices, *images_since(trained.folder.path, trained.data)):
        console.print(notice, style="yellow", soft_wrap=True)
    other = cfg.data.get("dataset")
    name = f"uncertainty-{other}" if other else "uncertainty"
    folder = results_folder(cfg.output or trained.folder.path / "evaluation" / name)
    latent = _latent(trained)
    latent.at(min(1.0, trained.epoch / trained.cfg.max_epochs))
    inside, *outside = image_sets(cfg, trained)
    tables, pairs = {}, {}
    with console.status("predicting"), torch.inference_mode():
        for images in (inside, *outside):
            tables[images.name] = _plain(trained, images)
            pairs[images.name] = _pairs(trained, images, cfg.num_draws)
            # Of each image, the mean over its draws, a dimension.
            log_prob = pairs[images.name].log_prob.view(cfg.num_draws, -1).mean(dim=0)
            dim = pairs[images.name].error.shape[1]
            tables[images.name]["negative_log_likelihood"] = -log_prob / dim
        by_strength = {
            float(strength): _at_strength(trained, inside, float(strength), cfg.num_draws)
            for strength in sorted(set(cfg.strengths))
        }
    own = tables[inside.name]
    results = {
        **trained.origin(),
        "latent_covariance": latent.covariance,
        "latent_smallest_std": latent.smallest_std,
        "latent_largest_std": latent.largest_std,
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
        **provenance(trained.hardware),
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_json(folder / "results.json", results)
    columns = (inside.indexes, inside.source.labels[inside.indexes], *(own[k] for k in _SCORES))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    write_csv(folder / "uncertainty.csv", ["index", "label", *_SCORES], rows)
    entropies = {name: table["entropy"].numpy() for name, table in tables.items()}
    certain = most_and_least(entropies[inside.name], np.arange(len(inside.indexes)), NUM_PICTURED)
    write_uncertainty(
        folder / "uncertainty.png",
        title=f"{trained.cfg.name}: uncertainty of {len(inside.indexes)} held-out images",
        images={
            f"{name} certain": pictured(
                trained.data,
                inside.source,
                inside.indexes[places],
                entropies[inside.name][places],
            )
            for name, places in zip(("most", "least"), certain, strict=True)
        },
        results=results,
        by_strength={key: value.numpy() for key, value in by_strength.items()},
        entropies=entropies,
    )
    title = f"uncertainty of {results['name']} on {results['num_images']} held-out images"
    print_summary(console, title, _rows(results), folder)
    return Outcome(RunFolder(folder), results)


def _rows(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the summary of likelihood, coverage and ranks."""
    fit, strength = results["calibration"], results["strength"]
    yield (
        "likelihood",
        f"{fit['negative_log_likelihood']:.4f} nats a dimension; one covariance for all "
        f"{fit['constant_negative_log_likelihood']:.4f}",
    )
    yield (
        "distance",
        f"mean squared Mahalanobis distance {fit['distance_ratio']:.3f} a dimension (1 is "
        "calibrated)",
    )
    for name in ("intervals", "ellipsoids"):
        found = zip(fit["levels"], fit[name], strict=True)
        yield name, ", ".join(f"{level:g}: {share:.3f}" for level, share in found)
    yield (
        "augmentation",
        f"rank correlation {strength['rank_correlation']:.3f} with the variance, "
        f"{strength['within_image']:.3f} within an image",
    )
    for name, areas in results["outside"].items():
        by = ", ".join(f"{key.replace('_', ' ')} {area:.3f}" for key, area in areas.items())
        yield name, f"AUROC by {by}"
    yield "files", "results.json, uncertainty.csv, uncertainty.png"


def _latent(trained: TrainedMethod) -> ConditionalGaussian:
    objective = getattr(trained.method, "objective", None)
    latent = getattr(objective, "latent", None)
    if not isinstance(latent, ConditionalGaussian):
        raise ValueError(
            f"{trained.folder.path} predicts no covariance: expected a run with "
            "method_kwargs.latent=conditional (--config-name gje), got "
            f"{trained.cfg.method_kwargs.get('latent') or trained.cfg.method}"
        )
    return latent


def _plain(trained: TrainedMethod, images: Images) -> dict[str, Tensor]:
    """Return variance and entropy of each image as it is."""
    made = []
    for views in images.plain():
        gaussian = _predict(trained, views)
        made.append(torch.stack([mean_variance(gaussian), gaussian.entropy()]).cpu())
    variance, entropy = torch.cat(made, dim=1)
    return {"variance": variance, "entropy": entropy}


def _pairs(trained: TrainedMethod, images: Images, num_draws: int) -> PairScores:
    """Score pairs of views drawn as in training: all images once, then again."""
    method, made = trained.method, []
    for draw in range(num_draws):
        for first, second in images.drawn(view_specs(trained.data), draw):
            latents = method(second)["z"]
            targets = method.targets([second], [latents])
            target = latents if targets is None else targets[0]
            made.append(score_pairs(_predict(trained, first), target))
    return PairScores(*(torch.cat(parts).cpu() for parts in zip(*made, strict=True)))


def _at_strength(trained: TrainedMethod, images: Images, strength: float, num_draws: int) -> Tensor:
    """Return the predicted variance at a strength of each image (N,), the mean over its draws."""
    spec = at_strength(view_specs(trained.data)[0], strength)
    draws = [
        torch.cat([mean_variance(_predict(trained, views)) for (views,) in images.drawn([spec], n)])
        for n in range(num_draws)
    ]
    return torch.stack(draws).cpu().double().mean(dim=0)


def _strength(by_strength: dict[float, Tensor]) -> dict[str, Any]:
    """Relate predicted variance to the strength of the augmentations.

    `rank_correlation` is over all images at all strengths; `within_image` is the mean of each
    image's own correlation, since images differ in variance without augmentation.
    """
    strengths = torch.tensor(list(by_strength)).double()
    variance = torch.stack(list(by_strength.values()))
    spread = strengths[:, None].expand_as(variance)
    of_image = [rank_correlation(strengths, one) for one in variance.unbind(dim=1)]
    return {
        "rank_correlation": rank_correlation(spread.flatten(), variance.flatten()),
        "within_image": float(np.mean(of_image)),
        "strengths": strengths.tolist(),
        "median_variance": variance.median(dim=1).values.tolist(),
    }


def _predict(trained: TrainedMethod, views: Tensor) -> Distribution:
    method = trained.method
    latents = method(views)["z"]
    return method.objective.latent.gaussian(method.predictor(latents), latents.shape[1])


def _quartiles(values: Tensor) -> dict[str, float]:
    levels = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=values.dtype)
    names = ("least", "lower_quartile", "median", "upper_quartile", "most")
    return dict(zip(names, values.quantile(levels).tolist(), strict=True))
