"""A linear evaluation: from pretrained weights and a configuration to a documented score."""

from __future__ import annotations

import time
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from solo_ldm.commands.linear.evaluation import (
    Evaluation,
    extract,
    fitting_batch_size,
    load_images,
    predict,
    weights_digest,
)
from solo_ldm.commands.linear.report import content_of, print_linear_summary, write_picture
from solo_ldm.commands.linear.schema import PROTOCOLS, TRAINED
from solo_ldm.commands.linear.training import train_seeds
from solo_ldm.commands.pretrain.results import preprocessing_of
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.scores import evaluate, score_predictions
from solo_ldm.evaluation.protocols import ONLINE
from solo_ldm.files import write_atomically, write_json
from solo_ldm.optim.optimizers import check_optimizer
from solo_ldm.run.folder import choose_folder, identity, save_args
from solo_ldm.run.hardware import Hardware, resolve_hardware
from solo_ldm.run.record import Outcome
from solo_ldm.run.trainer import is_helper_process
from solo_ldm.weights.pretrained import Pretrained, load_pretrained

# The weights themselves identify a run, not where they lie.
_NOT_IDENTITY = ("pretrained_feature_extractor", "pretrain_method", "backbone")


def run(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Evaluate pretrained weights by one of the protocols of `linear_schema.PROTOCOLS`.

    Everything that can be wrong with the configuration, the weights or the data is found before
    the first file is written.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Returns:
        The outcome, or None in the helper processes of distributed training.

    Raises:
        ValueError: in one line: a key, a value, weights or data that do not fit.
        FileNotFoundError: in one line: weights, data or a checkpoint that are not there.
    """
    console = console or Console(quiet=is_helper_process())
    hardware = resolve_hardware(cfg)
    if cfg.seeds is not None and hardware.num_processes > 1:
        raise ValueError(
            f"seeds={list(cfg.seeds)} takes one device, got {hardware.num_processes}; run the "
            "command once for each seed=NUMBER"
        )
    run = _prepare(cfg, hardware)
    _announce(console, run)
    results = train_seeds(run, console) if cfg.protocol in TRAINED else _score(run, console)
    if results is None:
        return None
    write_picture(run, results)
    write_json(run.folder.results, results)
    print_linear_summary(run, results, console)
    return Outcome(run.folder, results)


def _prepare(cfg: DictConfig, hardware: Hardware) -> Evaluation:
    """Load weights and data, and check that they fit each other and the protocol."""
    source = str(cfg.pretrained_feature_extractor)
    size = cfg.data.augmentations.crop_size
    if size is None and source.startswith("untrained:"):
        size = cfg.augmentations[0].get("crop_size")
    pretrained = load_pretrained(
        source,
        backbone_name=cfg.backbone.name,
        backbone_kwargs=dict(cfg.backbone.kwargs),
        image_size=size,
    )
    data = load_images(cfg, pretrained, cfg.seed, hardware.device)
    if cfg.optimizer.batch_size is None and cfg.protocol in TRAINED:
        cfg.optimizer.batch_size = fitting_batch_size(
            data.num_train_images // hardware.num_processes
        )
        data.batch_size = cfg.optimizer.batch_size
    if data.num_classes < 2:
        raise ValueError(
            f"{cfg.data.dataset}: expected training images of at least 2 classes, got "
            f"{data.num_classes}; give class folders in data.train_path"
        )
    if not data.num_val_images:
        raise ValueError(
            f"{cfg.data.dataset}: there are no labelled validation images to score; set "
            "data.val_path to class folders, or leave it out with data.val_fraction above 0"
        )
    weights: list[nn.Module] = [pretrained.backbone]
    if cfg.protocol in TRAINED:
        check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
        data.check_batches(hardware.num_processes)
    elif cfg.protocol == ONLINE.name:
        weights.append(_online_classifier(pretrained, data))
    sha256 = weights_digest(*weights)
    folder = choose_folder(cfg, "linear", {"weights": sha256, **identity(cfg, _NOT_IDENTITY)})
    return Evaluation(cfg, pretrained, data, hardware, sha256, folder)


def _online_classifier(pretrained: Pretrained, data: ImageDataModule) -> nn.Linear:
    if pretrained.classifier is None:
        raise ValueError(
            f"protocol=linear-online: {pretrained.source} holds no classifier; give a run's folder "
            "with its checkpoints, a checkpoint of a labelled run, or protocol=linear-features"
        )
    num_known = pretrained.classifier.out_features
    if num_known != data.num_classes:
        raise ValueError(
            f"protocol=linear-online: the classifier of {pretrained.source} knows {num_known} "
            f"classes, {data.data.dataset} has {data.num_classes}; set data.dataset to what it was "
            "trained on, or protocol=linear-features"
        )
    return pretrained.classifier


def _score(run: Evaluation, console: Console) -> dict[str, Any]:
    """Score by a protocol that trains nothing by gradients here."""
    save_args(run.folder, run.cfg)
    pretrained = run.pretrained
    about: dict[str, Any] = {
        "epoch": pretrained.epoch,
        "feature_layer": pretrained.feature_layer,
        "preprocessing": preprocessing_of(run.data),
    }
    start = time.perf_counter()
    test = extract(run, pretrained.backbone, "val", console)
    if run.cfg.protocol != ONLINE.name:
        train = extract(run, pretrained.backbone, "train", console)
        with console.status("logistic regression"):
            score = evaluate(run.cfg.protocol, train, test, **about)
        return {**content_of(run, score), "seconds": time.perf_counter() - start}
    classifier = _online_classifier(pretrained, run.data)
    score = score_of(
        assess_predictions(predict(classifier, test), test.labels),
        protocol=ONLINE.name,
        settings=dict(ONLINE.settings),
        num_train=run.data.num_train_images,
        seconds=time.perf_counter() - start,
        **about,
    )
    weights = {f"linear.{key}": value for key, value in classifier.state_dict().items()}
    write_atomically(run.folder.classifier, lambda path: save_file(weights, path))
    return content_of(run, score)


def _announce(console: Console, run: Evaluation) -> None:
    cfg, pretrained, data = run.cfg, run.pretrained, run.data
    for notice in run.hardware.notices:
        console.print(f"[yellow]{notice}[/]")
    epochs = f", {cfg.max_epochs} epochs" if cfg.protocol in TRAINED else ""
    console.print(
        f"[bold]{cfg.protocol}[/]: {PROTOCOLS[cfg.protocol]}; {pretrained.backbone_name} from "
        f"{pretrained.source} on {cfg.data.dataset} ({data.num_train_images} images, "
        f"{data.num_classes} classes){epochs} on {run.hardware.accelerator}",
        soft_wrap=True,
    )
    console.print(f"writing to {run.folder.path}", soft_wrap=True)
