"""After training: scores against the untrained backbone, results.json, report.png."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from solo_ldm.backbones import create_backbone
from solo_ldm.commands.pretrain.picture import write_report
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.protocols import ONLINE
from solo_ldm.evaluation.scores import evaluate, score_online
from solo_ldm.evaluation.spectrum import covariance_spectrum
from solo_ldm.methods.base import BaseMethod, Description
from solo_ldm.run.callbacks.progress import TrainingClock
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.metrics import MetricsCSV
from solo_ldm.run.record import provenance

# Samples of the spectrum and of the picture where there are no labels to score.
_UNLABELLED_SAMPLES = 2048

_HEALTH = (
    "z_std",
    "z_std_min",
    "z_effective_rank",
    "z_mean_cosine",
    "z_alignment",
    "feats_effective_rank",
)


@dataclass(frozen=True)
class Trained:
    """A run after training.

    Args:
        cfg: the completed configuration.
        method: the trained method.
        description: what it is.
        untrained: the backbone's state before training.
        data: its data.
        hardware: what it was trained on.
        folder: its folder.
        metrics: of each epoch.
        clock: its training time.
    """

    cfg: DictConfig
    method: BaseMethod
    description: Description
    untrained: dict[str, Tensor]
    data: ImageDataModule
    hardware: Hardware
    folder: RunFolder
    metrics: MetricsCSV
    clock: TrainingClock


@dataclass(frozen=True)
class Pictured:
    """Features that the picture shows: of the test images, or of training images unlabelled."""

    trained: Features
    untrained: Features


def assess(run: Trained, console: Console) -> tuple[dict[str, Any], Pictured]:
    """Score the trained and the untrained backbone by every protocol of the configuration.

    Returns:
        The content of results.json, and the features for the picture.
    """
    cfg, data = run.cfg, run.data
    untrained = create_backbone(cfg.backbone.name, data.image_size, **cfg.backbone.kwargs)
    untrained.load_state_dict(run.untrained)
    scores: dict[str, Any] = {}
    with _telling(console) as tell:
        if data.num_val_images and cfg.evaluation.protocols:
            sets = {}
            for name, backbone in (("trained", run.method.backbone), ("untrained", untrained)):
                tell(f"features of the {name} backbone")
                sets[name] = {
                    split: extract_features(
                        backbone, data.evaluation_dataloader(split), run.hardware.device
                    )
                    for split in ("train", "val")
                }
            for protocol in cfg.evaluation.protocols:
                tell(protocol)
                scores[protocol] = _score(protocol, run, sets["trained"], sets["untrained"])
            pictured = Pictured(sets["trained"]["val"], sets["untrained"]["val"])
        else:
            tell("features")
            pictured = Pictured(
                *(
                    extract_features(
                        backbone, data.sample_dataloader(_UNLABELLED_SAMPLES), run.hardware.device
                    )
                    for backbone in (run.method.backbone, untrained)
                )
            )
    return _content(run, scores), pictured


def _score(
    protocol: str,
    run: Trained,
    trained: dict[str, Features],
    untrained: dict[str, Features],
) -> dict[str, Any]:
    """Return a score for results.json, beside that of the untrained backbone where it has one."""
    epoch, preprocessing = run.cfg.max_epochs, run.data.preprocessing()
    if protocol == ONLINE:
        assert run.method.classifier is not None, "labelled images come with a classifier"
        score = score_online(
            run.method.classifier,
            trained["val"],
            num_train=run.data.num_train_images,
            epoch=epoch,
            preprocessing=preprocessing,
        )
        # Its classifier was trained on the trained features.
        return {**score.as_dict(), "untrained_top1": None}
    score = evaluate(
        protocol, trained["train"], trained["val"], epoch=epoch, preprocessing=preprocessing
    )
    baseline = evaluate(protocol, untrained["train"], untrained["val"])
    return {**score.as_dict(), "untrained_top1": baseline.top1}


def _content(run: Trained, scores: dict[str, Any]) -> dict[str, Any]:
    cfg, data, description = run.cfg, run.data, run.description
    measured = (*description.terms, *_HEALTH)
    last = {name: (run.metrics.column(name) or [float("nan")])[-1] for name in measured}
    return {
        "method": cfg.method,
        "name": cfg.name,
        "headline": description.headline,
        **description.axes,
        "settings": description.settings,
        "dataset": cfg.data.dataset,
        "num_train_images": data.num_train_images,
        "num_val_images": data.num_val_images,
        "num_classes": data.num_classes,
        "data_backend": data.backend,
        "unreadable_images": data.unreadable_summary(),
        "image_size": data.image_size,
        "backbone": cfg.backbone.name,
        "epochs": cfg.max_epochs,
        "batch_size": cfg.optimizer.batch_size * run.hardware.num_processes,
        "seed": cfg.seed,
        **provenance(run.hardware),
        "num_processes": run.hardware.num_processes,
        "precision": run.hardware.precision,
        "seconds": round(run.clock.seconds, 3),
        "images_per_second": round(run.clock.images_per_second, 1),
        "final_terms": {name.removeprefix("train_"): last[name] for name in description.terms},
        "health": {name: last[name] for name in _HEALTH if last[name] == last[name]},
        "results": scores,
    }


def write_picture(run: Trained, results: dict[str, Any], pictured: Pictured) -> None:
    """Write report.png."""
    columns = {
        "loss": run.description.terms[0],
        "log_prob": "train_log_prob",
        "entropy": "train_entropy",
        "effective_rank": "z_effective_rank",
        "std": "z_std",
        "mean_cosine": "z_mean_cosine",
    }
    history = {name: run.metrics.column(column) for name, column in columns.items()}
    history["epoch"] = [epoch + 1 for epoch in sorted(run.metrics.rows)]
    labelled = bool((pictured.trained.labels >= 0).all())
    title = (
        f"{results['name']}: {results['headline']}; {results['backbone']} on "
        f"{results['dataset']}, {results['epochs']} epochs"
    )
    write_report(
        run.folder.report,
        title=title,
        history=history,
        spectra={
            "trained": covariance_spectrum(pictured.trained.features),
            "untrained": covariance_spectrum(pictured.untrained.features),
        },
        features=pictured.trained.features,
        labels=pictured.trained.labels if labelled else None,
        classes=run.data.classes if labelled else None,
        scores=results["results"],
    )


@contextmanager
def _telling(console: Console) -> Iterator[Any]:
    """Show what is being computed, in place on a terminal."""
    with console.status("evaluating") as status:
        yield lambda what: status.update(f"evaluating: {what}")
