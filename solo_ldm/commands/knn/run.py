"""A nearest-neighbour evaluation: from weights to a table, results.json and confusion.png."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from solo_ldm.commands.knn.report import (
    NAMED,
    KnnEvaluation,
    content_of,
    label_of,
    name_of,
    named_score,
    print_knn_summary,
)
from solo_ldm.commands.knn.schema import choose_data
from solo_ldm.commands.pretrain.results import preprocessing_of
from solo_ldm.data.config import ViewSpec, parse_augmentations
from solo_ldm.data.module import ImageDataModule, Split
from solo_ldm.evaluation.features import Features, check_samples, extract_features
from solo_ldm.evaluation.knn import knn_grid
from solo_ldm.evaluation.metrics import pad_classes
from solo_ldm.evaluation.scores import Score, score_predictions
from solo_ldm.files import write_json
from solo_ldm.plotting.confusion import write_confusion
from solo_ldm.run.hardware import resolve_hardware
from solo_ldm.weights.pretrained import load_pretrained

_SPLITS: dict[Split, str] = {
    "train": "features of training images",
    "val": "features of test images",
}


@dataclass(frozen=True)
class KnnOutcome:
    """What an evaluation left behind.

    Args:
        folder: where results.json and confusion.png are.
        results: the content of results.json.
    """

    folder: Path
    results: dict[str, Any]


def run(cfg: DictConfig, console: Console | None = None) -> KnnOutcome:
    """Score weights by the vote of nearest neighbours, under every setting of a grid.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Returns:
        The outcome.

    Raises:
        ValueError: in one line: a key, a value, weights or data that do not fit, no labels.
        FileNotFoundError: in one line: weights or data that are not there.
    """
    console = console or Console()
    started = time.perf_counter()
    run = _prepare(cfg, console)
    train, test = _features(run, console)
    check_samples("knn", train, test)
    with console.status("comparing neighbours"):
        scores = _scores(run, train, test)
    results = content_of(run, scores, time.perf_counter() - started)
    folder = _folder(run)
    write_json(folder / "results.json", results)
    headline = named_score(scores) or scores[0]
    names = [*run.data.classes, *map(str, range(len(run.data.classes), len(headline.confusion)))]
    what = f"{name_of(run.pretrained)} on {run.data.data.dataset}"
    title = f"Nearest neighbours, {label_of(headline)}: {what}"
    write_confusion(folder / "confusion.png", headline.confusion, names, title)
    print_knn_summary(run, scores, folder, console)
    return KnnOutcome(folder, results)


def _prepare(cfg: DictConfig, console: Console) -> KnnEvaluation:
    """Load the weights and open the data, so that what is wrong is found before the work."""
    hardware = resolve_hardware(_single_device(cfg))
    for notice in hardware.notices:
        console.print(f"[yellow]{notice.replace('training', 'computing')}[/]")
    torch.manual_seed(cfg.seed)
    source = str(cfg.pretrained_feature_extractor)
    pretrained = load_pretrained(
        source,
        backbone_name=cfg.backbone.name,
        backbone_kwargs=dict(cfg.backbone.kwargs),
        image_size=_image_size(cfg, source),
    )
    trained_on = (pretrained.args or {}).get("data")
    config = choose_data(cfg.data, trained_on if isinstance(trained_on, dict) else None)
    view = ViewSpec(pretrained.image_size, 1, mean=pretrained.mean, std=pretrained.std)
    data = ImageDataModule(config, [view], cfg.batch_size, cfg.seed, hardware.device)
    num_train = _check_labels(data)
    skipped = [k for k in cfg.k if k > num_train]
    if skipped:
        console.print(
            f"[yellow]k = {', '.join(map(str, skipped))} left out: there are {num_train} "
            "labelled training images[/]",
            soft_wrap=True,
        )
    if len(skipped) == len(cfg.k):
        raise ValueError(f"k: expected at most {num_train}, the training images, got {min(cfg.k)}")
    console.print(
        f"[bold]{name_of(pretrained)}[/] on {config.dataset}: {num_train} training and "
        f"{data.num_val_images} test images of {data.num_classes} classes, "
        f"{pretrained.image_size} pixels, on {hardware.accelerator}",
        soft_wrap=True,
    )
    return KnnEvaluation(cfg, pretrained, data, hardware, num_train, skipped)


def _single_device(cfg: DictConfig) -> DictConfig:
    settings = {"devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
    content = {"accelerator": cfg.accelerator, "sync_batchnorm": False, **settings}
    created = OmegaConf.create(content)
    assert isinstance(created, DictConfig), "a mapping makes a mapping"
    return created


def _image_size(cfg: DictConfig, source: str) -> int | None:
    if cfg.image_size is None and source.startswith("untrained:") and cfg.augmentations:
        return parse_augmentations(cfg.augmentations)[0].crop_size
    return cfg.image_size


def _check_labels(data: ImageDataModule) -> int:
    """Return the number of labelled training images; refuse data without labels in a split."""
    train, test = data.source("train"), data.source("val")
    for name, source in (("training", train), ("test", test)):
        if source is None or not len(source.labelled):
            raise ValueError(
                f"{data.data.dataset}: there are no labelled {name} images to evaluate with; give "
                "class folders (data.train_path, data.val_path), or another data set (data=NAME)"
            )
    assert train is not None, "checked above"
    return len(train.labelled)


def _features(run: KnnEvaluation, console: Console) -> tuple[Features, Features]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} batches"),
        TimeRemainingColumn(),
    )
    sets = []
    with Progress(*columns, console=console, transient=True) as progress:
        for split, words in _SPLITS.items():
            task = progress.add_task(words, total=None)
            sets.append(
                extract_features(
                    run.pretrained.backbone,
                    run.data.evaluation_dataloader(split),
                    run.hardware.device,
                    lambda done, total, task=task: progress.update(
                        task, completed=done, total=total
                    ),
                )
            )
    return sets[0], sets[1]


def _scores(run: KnnEvaluation, train: Features, test: Features) -> list[Score]:
    """Score every setting that the training images suffice for, the best first."""
    device = run.hardware.device
    preprocessing = preprocessing_of(run.data)
    num_classes = max(run.data.num_classes, int(test.labels.max()) + 1)
    grid = knn_grid(
        Features(train.features.to(device), train.labels),
        test,
        [k for k in run.cfg.k if k not in run.skipped],
        list(run.cfg.temperature),
        list(run.cfg.distance),
    )
    scores: list[Score] = []
    search: dict[str, float] = {}
    since = time.perf_counter()
    for vote in grid:
        seconds = time.perf_counter() - since
        # The first of a distance includes the search for neighbours, which all of them need.
        first = search.setdefault(vote.distance, seconds)
        settings: dict[str, Any] = {"num_neighbours": vote.num_neighbours}
        if vote.temperature is not None:
            settings["temperature"] = vote.temperature
        settings["distance"] = vote.distance
        score = score_of(
            assess_predictions(pad_classes(vote.probabilities, num_classes), test.labels),
            protocol=NAMED.name if settings == NAMED.settings else "knn",
            settings=settings,
            num_train=len(train.features),
            seconds=max(first, seconds),
            epoch=run.pretrained.epoch,
            feature_layer=run.pretrained.feature_layer,
            preprocessing=preprocessing,
        )
        scores.append(score)
        since = time.perf_counter()
    return sorted(scores, key=lambda score: -score.top1)


def _folder(run: KnnEvaluation) -> Path:
    """Return where the files go: beside the run, or in evaluations/ for weights of no run."""
    if run.cfg.output is not None:
        return Path(run.cfg.output)
    pretrained, dataset = run.pretrained, run.data.data.dataset
    weights = pretrained.weights
    if weights is None or pretrained.kind not in ("run", "checkpoint") or not pretrained.args:
        name = pretrained.source.rpartition(":")[2] if weights is None else weights.stem
        return Path("evaluations") / name / dataset / "knn"
    folder = weights.parent.parent if weights.parent.name == "checkpoints" else weights.parent
    name = "knn" if pretrained.kind == "run" else f"knn-{weights.stem}"
    trained_on: Mapping[str, Any] = pretrained.args.get("data", {})
    own = dataset == trained_on.get("dataset")
    return folder / "evaluation" / (name if own else f"{name}-{dataset}")
