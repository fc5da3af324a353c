"""After training: scores against the untrained backbone, results.json, report.png, summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from torch import Tensor

from solo_ldm.backbones import create_backbone
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation import Features, covariance_spectrum, evaluate, extract_features
from solo_ldm.host.hardware import Hardware
from solo_ldm.host.logger import MetricsCSV
from solo_ldm.host.progress import TrainingClock
from solo_ldm.host.provenance import commit, hardware_name, versions
from solo_ldm.host.run import RunFolder
from solo_ldm.methods import LDMBody
from solo_ldm.report import ReportData, write_report

# Samples of the spectrum and of the picture where there are no labels to score.
_UNLABELLED_SAMPLES = 2048

_TERMS = ("train_ldm_loss", "train_log_prob", "train_entropy")
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
        untrained: the backbone's state before training.
        data: its data.
        hardware: what it was trained on.
        folder: its folder.
        logger: its metrics over epochs.
        clock: its training time.
    """

    cfg: DictConfig
    method: LDMBody
    untrained: dict[str, Tensor]
    data: ImageDataModule
    hardware: Hardware
    folder: RunFolder
    logger: MetricsCSV
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
                scores[protocol] = _score(protocol, sets["trained"], sets["untrained"])
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
    protocol: str, trained: dict[str, Features], untrained: dict[str, Features]
) -> dict[str, Any]:
    score = evaluate(protocol, trained["train"], trained["val"])
    baseline = evaluate(protocol, untrained["train"], untrained["val"])
    return {
        "top1": score.top1,
        "top5": score.top5,
        "untrained_top1": baseline.top1,
        "num_train": score.num_train,
        "num_test": score.num_test,
        "settings": score.settings,
        "seconds": score.seconds,
    }


def _content(run: Trained, scores: dict[str, Any]) -> dict[str, Any]:
    cfg, data, settings = run.cfg, run.data, type(run.method).settings(run.cfg)
    last = {name: (run.logger.column(name) or [float("nan")])[-1] for name in (*_TERMS, *_HEALTH)}
    return {
        "method": cfg.method,
        "latent": settings.support,
        "entropy": settings.entropy,
        "over": settings.over,
        "settings": asdict(settings),
        "dataset": cfg.data.dataset,
        "num_train_images": data.num_train_images,
        "num_val_images": data.num_val_images,
        "num_classes": data.num_classes,
        "data_backend": data.backend,
        "image_size": data.image_size,
        "backbone": cfg.backbone.name,
        "epochs": cfg.max_epochs,
        "batch_size": cfg.optimizer.batch_size * run.hardware.num_processes,
        "seed": cfg.seed,
        "hardware": hardware_name(run.hardware),
        "num_processes": run.hardware.num_processes,
        "precision": run.hardware.precision,
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(run.clock.seconds, 3),
        "images_per_second": round(run.clock.images_per_second, 1),
        "final_terms": {name.removeprefix("train_"): last[name] for name in _TERMS},
        "health": {name: last[name] for name in _HEALTH if last[name] == last[name]},
        "results": scores,
    }


def write_picture(run: Trained, results: dict[str, Any], pictured: Pictured) -> None:
    """Write report.png."""
    columns = {
        "loss": "train_ldm_loss",
        "log_prob": "train_log_prob",
        "entropy": "train_entropy",
        "effective_rank": "z_effective_rank",
        "std": "z_std",
        "mean_cosine": "z_mean_cosine",
    }
    history = {name: run.logger.column(column) for name, column in columns.items()}
    history["epoch"] = [epoch + 1 for epoch in sorted(run.logger.rows)]
    labelled = bool((pictured.trained.labels >= 0).all())
    title = (
        f"{results['method']}: {results['entropy']} entropy, {results['over']}, "
        f"{results['backbone']} on {results['dataset']}, {results['epochs']} epochs"
    )
    write_report(
        run.folder.report,
        ReportData(
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
        ),
    )


def print_summary(run: Trained, results: dict[str, Any], console: Console) -> None:
    """Say what was made, how good it is, where it is and what to do next."""
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    seconds = results["seconds"]
    body.add_row(
        "trained",
        f"{results['epochs']} epochs in {seconds:.0f} s, "
        f"{results['images_per_second']:.0f} images/s",
    )
    for protocol, score in results["results"].items():
        body.add_row(
            protocol,
            f"[bold green]{score['top1']:.4f}[/] top-1 "
            f"(untrained {score['untrained_top1']:.4f}; {score['num_test']} test images)",
        )
    if not results["results"]:
        body.add_row("scores", "none: the data has no labelled validation images")
    folder = run.folder
    names = [folder.backbone.name, folder.results.name, folder.metrics.name]
    names += [folder.report.name] if folder.report.exists() else []
    body.add_row("files", ", ".join([*names, "checkpoints/"]))
    console.print(Panel(body, title=f"{results['method']} on {results['dataset']}", expand=False))
    other = "sphereprob" if run.cfg.method == "gaussprob" else "gaussprob"
    for line in (
        f"in {folder.path}",
        f"next: solo-ldm pretrain --config-name {other} method_kwargs.entropy=neighbour",
        "      solo-ldm pretrain --config-name gaussprob data=custom data.train_path=FOLDER",
        f'      solo_ldm.backbones.load_backbone("{folder.backbone}")  # in Python',
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _telling(console: Console) -> Iterator[Any]:
    """Show what is being computed, in place on a terminal."""
    with console.status("evaluating") as status:
        yield lambda what: status.update(f"evaluating: {what}")
