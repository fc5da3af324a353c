"""After training: scores against the untrained backbone, results.json, report.png."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from torch import Tensor

from solo_ldm.backbones import create_backbone
from solo_ldm.commands.pretrain.gradients_picture import write_gradients
from solo_ldm.commands.pretrain.picture import write_report
from solo_ldm.commands.shared.texts import RETRIEVAL, score_texts
from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.protocols import ONLINE, TEXTS
from solo_ldm.evaluation.scores import evaluate, score_online
from solo_ldm.evaluation.spectrum import covariance_spectrum
from solo_ldm.methods.base import Description
from solo_ldm.numerics import statistics_precision
from solo_ldm.run.fit import Fitted
from solo_ldm.run.gradient_rows import cosines_of, read_gradients
from solo_ldm.run.record import provenance

# Samples of the spectrum and of the picture where there are no labels to score.
_UNLABELLED_SAMPLES = 2048

_HEALTH = (
    "z_std",
    "z_std_min",
    "z_effective_rank",
    "z_mean_cosine",
    "z_alignment",
    "z_prototypes_in_use",
    "feats_effective_rank",
)


def assess(
    run: Fitted,
    description: Description,
    untrained: Mapping[str, Tensor],
    console: Console,
    before: Any = None,
) -> tuple[dict[str, Any], dict[str, Features]]:
    """Score the trained and the untrained backbone by every protocol of the configuration.

    `description` is that of the method, `untrained` the state of the backbone before training,
    `before` the whole method then, where protocols ask for its texts.

    Returns:
        The content of results.json; and the features for the picture of the trained and of the
        untrained backbone: of the test images, or of training images where there is no score.
    """
    cfg, data = run.cfg, run.data
    backbone = create_backbone(cfg.backbone.name, data.image_size, **cfg.backbone.kwargs)
    backbone.load_state_dict(untrained)
    # Which images cannot be read is known by now.
    asked = cfg.evaluation.protocols if data.readable("val") else []
    protocols = [one for one in asked if one not in TEXTS] if data.num_val_images else []

    def loaders() -> list[Any]:
        if protocols:
            return [data.evaluation_dataloader(split) for split in ("train", "val")]
        return [data.sample_dataloader(_UNLABELLED_SAMPLES)]

    features, scores = {}, {}
    with console.status("evaluating") as status:
        for name, network in (("trained", run.module.backbone), ("untrained", backbone)):
            status.update(f"evaluating: features of the {name} backbone")
            features[name] = [
                extract_features(network, loader, run.hardware.device) for loader in loaders()
            ]
        for protocol in protocols:
            status.update(f"evaluating: {protocol}")
            scores[protocol] = _score(protocol, run, features)
        if before is not None:
            status.update("evaluating: texts")
            scores |= _of_texts(run, before, asked)
    return _content(run, description, scores), {name: parts[-1] for name, parts in features.items()}


def _score(protocol: str, run: Fitted, features: dict[str, list[Features]]) -> dict[str, Any]:
    """Return a score for results.json, beside that of the untrained backbone where it has one."""
    train, test = features["trained"]
    record = {"epoch": run.cfg.max_epochs, "preprocessing": run.data.preprocessing()}
    if protocol == ONLINE:
        classifier, count = run.module.classifier, run.data.num_train_images
        score, baseline = score_online(classifier, test, num_train=count, **record), None
    else:
        score = evaluate(protocol, train, test, **record)
        baseline = evaluate(protocol, *features["untrained"]).top1
    return {**score.as_dict(), "untrained_top1": baseline}


def _of_texts(run: Fitted, before: Any, protocols: Sequence[str]) -> dict[str, Any]:
    """Return the scores of a method that encodes texts, by protocol."""
    settings = run.module.settings
    return score_texts(
        {"trained": run.module, "untrained": before},
        run.data,
        run.hardware.device,
        protocols,
        settings.prompts,
        settings.class_names,
        epoch=run.cfg.max_epochs,
        preprocessing=run.data.preprocessing(),
    )


def _content(run: Fitted, description: Description, scores: dict[str, Any]) -> dict[str, Any]:
    cfg, data = run.cfg, run.data
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
        "scored_on": data.scored_on if scores or data.num_val_images else None,
        "num_classes": data.num_classes,
        "data_backend": data.backend,
        "unreadable_images": data.unreadable_summary(),
        "clipped_images": data.clipped(),
        "image_size": data.image_size,
        "backbone": cfg.backbone.name,
        "epochs": cfg.max_epochs,
        "batch_size": cfg.optimizer.batch_size * run.hardware.num_processes,
        "seed": cfg.seed,
        **provenance(run.hardware),
        "num_processes": run.hardware.num_processes,
        "continued_from": run.origins,
        "precision": run.hardware.precision,
        "statistics": statistics_precision(run.hardware.device),
        "seconds": round(run.clock.seconds, 3),
        "images_per_second": round(run.clock.images_per_second, 1),
        "final_terms": {name.removeprefix("train_"): last[name] for name in description.terms},
        "health": {name: last[name] for name in _HEALTH if last[name] == last[name]},
        "gradient_cosine": cosines_of(_gradients(run)) or None,
        "results": {name: score for name, score in scores.items() if name != RETRIEVAL},
        **({RETRIEVAL: scores[RETRIEVAL]} if RETRIEVAL in scores else {}),
    }


def _gradients(run: Fitted) -> list[dict[str, Any]]:
    """Return what was measured of gradients, if the run was to."""
    compared = run.cfg.evaluation.compare_gradients_every and run.folder.gradients.exists()
    return read_gradients(run.folder.gradients) if compared else []


def write_picture(
    run: Fitted, loss: str, results: dict[str, Any], features: dict[str, Features]
) -> None:
    """Write the pictures of a run; `loss` is the name of the logged loss, others of `assess`."""
    columns = {
        "loss": loss,
        "log_prob": "train_log_prob",
        "entropy": "train_entropy",
        "effective_rank": "z_effective_rank",
        "std": "z_std",
        "mean_cosine": "z_mean_cosine",
    }
    history = {name: run.metrics.column(column) for name, column in columns.items()}
    history["epoch"] = [epoch + 1 for epoch in sorted(run.metrics.rows)]
    trained = features["trained"]
    labelled = bool((trained.labels >= 0).all())
    title = (
        f"{results['name']}: {results['headline']}; {results['backbone']} on "
        f"{results['dataset']}, {results['epochs']} epoch{'s' * (results['epochs'] > 1)}"
    )
    if rows := _gradients(run):
        size = f"{run.cfg.optimizer.batch_size} images, latents of "
        size += f"{results['settings']['proj_output_dim']} dimensions"
        write_gradients(run.folder.gradients_picture, rows, title, size)
    write_report(
        run.folder.report,
        title=title,
        history=history,
        spectra={name: covariance_spectrum(one.features) for name, one in features.items()},
        features=trained.features,
        labels=trained.labels if labelled else None,
        classes=run.data.classes if labelled else None,
        scores=results["results"],
    )
