"""A nearest-neighbour evaluation: from weights to a table, results.json and confusion.png."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console

from solo_ldm.commands.knn.report import (
    NAMED,
    KnnEvaluation,
    content_of,
    label_of,
    name_of,
    named_score,
    print_report,
)
from solo_ldm.commands.shared.inputs import features_of, load_images, load_weights, single_device
from solo_ldm.data.choice import choose_data
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.features import Features, check_samples
from solo_ldm.evaluation.knn import knn_grid
from solo_ldm.evaluation.metrics import pad_classes
from solo_ldm.evaluation.protocols import PROTOCOLS
from solo_ldm.evaluation.scores import Score, score_predictions
from solo_ldm.files import write_json
from solo_ldm.plotting.confusion import write_confusion
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Score weights by the vote of nearest neighbours, under every setting of a grid.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Raises:
        ValueError: in one line: weights or data that do not fit, no labels.
        FileNotFoundError: in one line: weights or data that are not there.
    """
    console = console or Console()
    started = time.perf_counter()
    given = _prepare(cfg, console)
    device = given.hardware.device
    train, test = (
        features_of(given.pretrained.backbone, given.data, split, device, console)
        for split in ("train", "val")
    )
    check_samples("knn", train, test)
    with console.status("comparing neighbours"):
        scores = _scores(given, train, test)
    results = content_of(given, scores, time.perf_counter() - started)
    folder = Path(cfg.output) if cfg.output is not None else _folder(given)
    write_json(folder / "results.json", results)
    headline = named_score(scores) or scores[0]
    names = [*given.data.classes, *map(str, range(given.data.num_classes, len(headline.confusion)))]
    what = f"{name_of(given.pretrained)} on {given.data.data.dataset}"
    title = f"Nearest neighbours, {label_of(headline)}: {what}"
    interval = headline.interval
    write_confusion(folder / "confusion.png", headline.confusion, names, title, interval)
    print_report(given, scores, folder, console)
    return Outcome(RunFolder(folder), results)


def _prepare(cfg: DictConfig, console: Console) -> KnnEvaluation:
    """Load the weights and open the data, so that what is wrong is found before the work."""
    hardware = single_device(cfg.accelerator, console)
    torch.manual_seed(cfg.seed)
    pretrained = load_weights(cfg, cfg.image_size)
    trained_on = (pretrained.args or {}).get("data")
    config = choose_data(cfg.data, trained_on if isinstance(trained_on, dict) else None)
    data = load_images(config, pretrained, cfg.batch_size, cfg.seed, hardware.device)
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


def _check_labels(data: ImageDataModule) -> int:
    """Return the number of labelled training images; refuse a split without labels."""
    labelled = {}
    for split, name in (("train", "training"), ("val", "test")):
        source = data.source(split)
        labelled[split] = 0 if source is None else len(source.labelled)
        if not labelled[split]:
            raise ValueError(
                f"{data.data.dataset}: there are no labelled {name} images to evaluate with; give "
                "class folders (data.train_path, data.val_path), or another data set (data=NAME)"
            )
    return labelled["train"]


def _scores(given: KnnEvaluation, train: Features, test: Features) -> list[Score]:
    """Score every setting that the training images suffice for, the best first."""
    cfg = given.cfg
    num_classes = max(given.data.num_classes, int(test.labels.max()) + 1)
    record: dict[str, Any] = {
        "num_train": len(train.features),
        "epoch": given.pretrained.epoch,
        "feature_layer": given.pretrained.feature_layer,
        "preprocessing": given.data.preprocessing(),
    }
    grid = knn_grid(
        Features(train.features.to(given.hardware.device), train.labels),
        test.features,
        [k for k in cfg.k if k not in given.skipped],
        list(cfg.temperature),
        list(cfg.distance),
    )
    scores: list[Score] = []
    search: dict[str, float] = {}
    since = time.perf_counter()
    for vote in grid:
        seconds = time.perf_counter() - since
        # The first of a distance includes the search for neighbours, which all of them need.
        first = search.setdefault(vote.distance, seconds)
        settings = {
            "num_neighbours": vote.num_neighbours,
            "temperature": vote.temperature,
            "distance": vote.distance,
        }
        settings = {key: value for key, value in settings.items() if value is not None}
        score = score_predictions(
            pad_classes(vote.probabilities, num_classes),
            test.labels,
            protocol=NAMED if settings == PROTOCOLS[NAMED].settings else "knn",
            settings=settings,
            seconds=max(first, seconds),
            **record,
        )
        scores.append(score)
        since = time.perf_counter()
    return sorted(scores, key=lambda score: -score.top1)


def _folder(given: KnnEvaluation) -> Path:
    """Return the folder beside the run of the weights, or else one in evaluations/."""
    pretrained, dataset = given.pretrained, given.data.data.dataset
    weights = pretrained.weights
    if weights is None or pretrained.kind not in ("run", "checkpoint") or not pretrained.args:
        name = pretrained.source.rpartition(":")[2] if weights is None else weights.stem
        return Path("evaluations") / name / dataset / "knn"
    folder = weights.parent.parent if weights.parent.name == "checkpoints" else weights.parent
    name = "knn" if pretrained.kind == "run" else f"knn-{weights.stem}"
    own = dataset == pretrained.args.get("data", {}).get("dataset")
    return folder / "evaluation" / (name if own else f"{name}-{dataset}")
