"""The training of a linear evaluation: once or once a seed, at one learning rate or several."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import lightning.pytorch as pl
import numpy as np
from omegaconf import OmegaConf
from rich.console import Console
from safetensors.torch import save_file
from torch.nn.functional import nll_loss

from solo_ldm.commands.linear.model import LinearModel
from solo_ldm.commands.linear.report import content_of
from solo_ldm.commands.linear.setup import labelled_images
from solo_ldm.commands.shared.inputs import Evaluation
from solo_ldm.data.datasets.registry import stratified_indexes
from solo_ldm.evaluation.scores import predict_classes, score_predictions
from solo_ldm.files import read_json, weights_written, write_atomically
from solo_ldm.run.callbacks.unreadable import NoteUnreadable
from solo_ldm.run.fit import fit
from solo_ldm.run.folder import save_args
from solo_ldm.weights.export import write_backbone
from solo_ldm.weights.published import resolve_checkpoint

# Share of the training images that choose among several learning rates.
HELD_OUT = 0.1


def train_seeds(run: Evaluation, console: Console) -> dict[str, Any] | None:
    """Train once, or once a seed, each in a folder of its own in the run's.

    Returns:
        The content of results.json: with several seeds that of the first one's classifier, and
        the spread of the scores. None in helper processes and after an interruption.
    """
    if run.cfg.seeds is None:
        return train(run, console)
    save_args(run.folder, run.cfg)
    parts: list[dict[str, Any]] = []
    for seed in run.cfg.seeds:
        cfg: Any = OmegaConf.merge(run.cfg, {"seed": seed, "seeds": None})
        folder = replace(run.folder, path=run.folder.path / f"seed-{seed}")
        if folder.finished:
            parts.append(read_json(folder.results))
            continue
        console.print(f"seed {seed}", highlight=False)
        data = labelled_images(cfg, run.pretrained, run.hardware.device)
        results = train(replace(run, cfg=cfg, data=data, folder=folder), console)
        if results is None:
            return None
        results |= weights_written(folder.path)
        folder.write_results(results)
        parts.append(results)
    scores = [part["top1"] for part in parts]
    several = {
        "seeds": list(run.cfg.seeds),
        "top1": scores,
        "top1_mean": statistics.fmean(scores),
        "top1_std": statistics.stdev(scores) if len(scores) > 1 else None,
    }
    return {**parts[0], "seeds": several, "seconds": sum(part["seconds"] for part in parts)}


def train(run: Evaluation, console: Console) -> dict[str, Any] | None:
    """Train the classifiers of one seed and score one of them.

    Returns:
        The content of results.json; None in helper processes and after an interruption.
    """
    cfg, data, hardware, folder = run.cfg, run.data, run.hardware, run.folder
    pl.seed_everything(cfg.seed, verbose=False)
    held_out = _hold_out(run) if len(cfg.optimizer.lr) > 1 else None
    data.check_batches(hardware.num_processes)
    # solo-learn's rule: rates are given for 256 images a step.
    rates = [rate * samples_of_a_step(run) / 256 for rate in cfg.optimizer.lr]
    # All seeds start from the weights as they were read: fine-tuning changes a copy.
    backbone: Any = copy.deepcopy(run.pretrained.backbone)
    model = LinearModel(cfg, backbone, backbone.num_features, data.num_classes, rates)
    fitted = fit(
        model,
        data,
        cfg,
        hardware,
        folder,
        console,
        loss="train_class_loss",
        monitor="val_acc1",
        resume_from=resolve_checkpoint(cfg.resume_from_checkpoint),
        callbacks=[NoteUnreadable(data, console)],
        accuracy="top-1",
    )
    if fitted is None:
        return None
    model.cpu().eval()
    chosen, choice = _choose(run, model, held_out, console)
    classifier = model.classifiers[chosen]
    test = run.features("val", console, model.backbone)
    score = score_predictions(
        predict_classes(classifier, test.features),
        test.labels,
        protocol=cfg.protocol,
        settings={
            **_settings(run, fitted.trainer.optimizers[0].defaults),
            "lr_of_a_step": rates[chosen],
            **choice,
        },
        num_train=data.num_train_images,
        seconds=fitted.clock.seconds,
        **run.record,
    )
    weights = {key: value.contiguous() for key, value in classifier.state_dict().items()}
    write_atomically(folder.classifier, lambda path: save_file(weights, path))
    if model.finetune:
        about = {"method": "finetune", "epoch": cfg.max_epochs}
        built_by = run.pretrained.built_by
        normalisation = (data.mean, data.std, about, None, data.pixel_range)
        write_backbone(folder.backbone, model.backbone, built_by, *normalisation)
    return {**content_of(run, score), "continued_from": fitted.origins}


def samples_of_a_step(run: Evaluation) -> int:
    """Return how many images all processes together use in one step of the optimiser."""
    cfg = run.cfg
    return cfg.optimizer.batch_size * run.hardware.num_processes * cfg.accumulate_grad_batches


def _hold_out(run: Evaluation) -> Evaluation:
    """Take a tenth of the training images out of the run's; return it with those alone."""
    data = labelled_images(run.cfg, run.pretrained, run.hardware.device)
    source = data.source("train")
    labels = np.empty(0, np.int64) if source is None else source.labels
    chosen = stratified_indexes(labels, HELD_OUT, keep_one=True)
    if not len(chosen):
        raise ValueError(
            f"optimizer.lr: several rates need {1 / HELD_OUT:.0f} or more training images, some "
            f"of which choose among them, got {len(labels)}; give one rate"
        )
    data.keep("train", chosen)
    run.data.keep("train", np.setdiff1d(np.arange(len(labels)), chosen))
    return replace(run, data=data)


def _choose(
    run: Evaluation, model: LinearModel, held_out: Evaluation | None, console: Console
) -> tuple[int, dict[str, Any]]:
    """Return the number of the classifier that is best on held-out images, and the record of it.

    The highest accuracy decides; among equal ones, which are common for few images, the lowest
    cross-entropy.
    """
    if held_out is None:
        return 0, {"lr": run.cfg.optimizer.lr[0]}
    features = held_out.features("train", console, model.backbone)
    rows: list[tuple[float, float]] = []
    for classifier in model.classifiers:
        logs = predict_classes(classifier, features.features).log()
        correct = (logs.argmax(dim=1) == features.labels).double().mean()
        rows.append((float(correct), -float(nll_loss(logs, features.labels))))
    chosen = max(range(len(rows)), key=rows.__getitem__)
    record = {
        "lr": run.cfg.optimizer.lr[chosen],
        "lr_chosen_from": list(run.cfg.optimizer.lr),
        "lr_held_out_top1": [top1 for top1, _ in rows],
        "num_held_out": len(features.labels),
    }
    return chosen, record


def _settings(run: Evaluation, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the score depends on, the optimiser's own defaults included."""
    cfg = run.cfg
    optimizer: Any = OmegaConf.to_container(cfg.optimizer)
    # Rates and weight decay differ between parameter groups; the configuration has those.
    own = {key: value for key, value in defaults.items() if key not in ("lr", "weight_decay")}
    settings = {
        "optimizer": {**optimizer, "kwargs": own},
        "scheduler": OmegaConf.to_container(cfg.scheduler),
        "epochs": cfg.max_epochs,
        "samples_of_a_step": samples_of_a_step(run),
        "normalise_features": cfg.normalise_features,
        "label_smoothing": cfg.label_smoothing,
        "augmentations": [asdict(view) for view in run.data.views],
        "precision": run.hardware.precision,
    }
    if cfg.protocol == "finetune":
        settings |= {"mixup": cfg.mixup, "cutmix": cfg.cutmix}
    return settings
