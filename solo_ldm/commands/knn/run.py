"""A nearest-neighbour evaluation: from weights to a table, results.json and confusion.png."""

from __future__ import annotations

import time

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from solo_ldm.commands.knn.report import (
    NAMED,
    content_of,
    label_of,
    name_of,
    named_score,
    print_report,
)
from solo_ldm.commands.shared.inputs import (
    SPLITS,
    Evaluation,
    check_labelled,
    evaluation_folder,
    load_images,
    load_weights,
    named_with_patches,
    other_images,
)
from solo_ldm.config.places import results_folder
from solo_ldm.data.choice import choose_data
from solo_ldm.evaluation.features import Features, check_samples
from solo_ldm.evaluation.knn import knn_grid
from solo_ldm.evaluation.metrics import pad_classes
from solo_ldm.evaluation.protocols import PROTOCOLS
from solo_ldm.evaluation.scores import Score, score_predictions
from solo_ldm.files import sha256_of, write_json
from solo_ldm.plotting.confusion import write_confusion
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import single_device
from solo_ldm.run.record import Outcome


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Do the work of `solo_ldm.commands.knn`, with the completed configuration."""
    console = plain_console(console)
    started = time.perf_counter()
    work = _prepare(cfg, console)
    backbone = work.pretrained.backbone
    train, test = (work.features(split, console, backbone) for split in SPLITS)
    check_samples("knn", train, test)
    with console.status("comparing neighbours"):
        scores = _scores(work, train, test)
    results = content_of(work, scores, time.perf_counter() - started)
    write_json(work.folder.results, results)
    headline = named_score(scores) or scores[0]
    names = work.class_names(len(headline.confusion))
    what = f"{name_of(work.pretrained)} on {work.data.data.dataset}"
    title = f"Nearest neighbours, {label_of(headline)}: {what}"
    write_confusion(work.folder.confusion, headline.confusion, names, title, headline.interval)
    print_report(work, scores, console)
    return Outcome(work.folder, results)


def _prepare(cfg: DictConfig, console: Console) -> Evaluation:
    """Load the weights and open the data, so that what is wrong is found before the work."""
    hardware = single_device(cfg.accelerator)
    for notice in hardware.notices:
        console.print(notice.replace("training", "computing"), style="yellow", soft_wrap=True)
    torch.manual_seed(cfg.seed)
    pretrained = load_weights(cfg, cfg.image_size)
    trained_on = (pretrained.args or {}).get("data")
    config = choose_data(cfg.data, trained_on if isinstance(trained_on, dict) else None)
    data = load_images(config, pretrained, cfg.batch_size, cfg.seed, hardware.device)
    num_train = check_labelled(data)
    for notice in (*data.notices, *other_images(pretrained, data)):
        console.print(notice, style="yellow", soft_wrap=True)
    skipped = [k for k in cfg.k if k > num_train]
    if skipped:
        console.print(
            f"k = {', '.join(map(str, skipped))} left out: there are {num_train} "
            "labelled training images",
            style="yellow",
            soft_wrap=True,
        )
    if len(skipped) == len(cfg.k):
        raise ValueError(f"k: expected at most {num_train}, the training images, got {min(cfg.k)}")
    console.print(
        Text.assemble(
            (name_of(pretrained), "bold"),
            f" on {config.dataset}: {num_train} training images, scored on {data.num_val_images} "
            f"{data.scored_on}; {data.num_classes} classes, {pretrained.image_size} pixels, on "
            f"{hardware.accelerator}",
        ),
        soft_wrap=True,
    )
    name = named_with_patches("knn", cfg)
    folder = results_folder(cfg.output or evaluation_folder(pretrained, config.dataset, name))
    sha256 = None if pretrained.weights is None else sha256_of(pretrained.weights)
    return Evaluation(cfg, pretrained, data, hardware, RunFolder(folder), sha256)


def _scores(work: Evaluation, train: Features, test: Features) -> list[Score]:
    """Score every setting that the training images suffice for, the best first."""
    cfg, num_train = work.cfg, len(train.features)
    num_classes = max(work.data.num_classes, int(test.labels.max()) + 1)
    grid = knn_grid(
        Features(train.features.to(work.hardware.device), train.labels),
        test.features,
        [k for k in cfg.k if k <= num_train],
        list(cfg.temperature),
        list(cfg.distance),
    )
    scores: list[Score] = []
    search: dict[str, float] = {}
    since = time.perf_counter()
    for settings, probabilities in grid:
        seconds = time.perf_counter() - since
        # The first of a distance includes the search for neighbours, which all of them need.
        first = search.setdefault(settings["distance"], seconds)
        score = score_predictions(
            pad_classes(probabilities, num_classes),
            test.labels,
            protocol=NAMED if settings == PROTOCOLS[NAMED].settings else "knn",
            settings=settings,
            num_train=num_train,
            seconds=max(first, seconds),
            **work.record,
        )
        scores.append(score)
        since = time.perf_counter()
    return sorted(scores, key=lambda score: -score.top1)
