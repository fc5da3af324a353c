"""Evaluation by texts: from a run's weights to results.json."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from solo_ldm.commands.shared.inputs import (
    evaluation_folder,
    load_images,
    load_weights,
    other_images,
)
from solo_ldm.commands.shared.texts import (
    RETRIEVAL,
    ZERO_SHOT,
    nothing_to_score,
    recalls_in_words,
    score_texts,
    unscored,
)
from solo_ldm.config.arguments import check_templates
from solo_ldm.config.places import results_folder
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import DataConfig
from solo_ldm.files import write_json
from solo_ldm.methods.cross.method import Cross
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome, print_summary, provenance
from solo_ldm.weights.trained_method import load_method


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Do the work of `solo_ldm.commands.zeroshot`, with the completed configuration."""
    console = plain_console(console)
    started = time.perf_counter()
    if cfg.prompts is not None:
        check_templates("prompts", cfg.prompts)
    trained = load_method(cfg.pretrained_feature_extractor, cfg.accelerator)
    method = trained.method
    if not isinstance(method, Cross):
        raise ValueError(
            f"{trained.folder.path} encodes no texts: expected a run with method=cross "
            f"(--config-name clip), got {trained.cfg.method}"
        )
    pretrained = load_weights(cfg, None)
    config = images_of(cfg.data, trained.cfg.data)
    data = load_images(config, pretrained, cfg.batch_size, cfg.seed, trained.hardware.device)
    own = config.dataset == trained.cfg.data.dataset
    given = {key: cfg[key] for key in ("prompts", "class_names") if cfg[key]}
    for notice in (
        *data.notices,
        *other_images(pretrained, data),
        *unscored(cfg.protocols, data, [*given]),
    ):
        console.print(notice, style="yellow", soft_wrap=True)
    untrained = trained.untrained()
    untrained.text.tokens = method.text.tokens
    scores = score_texts(
        {"trained": method, "untrained": untrained},
        data,
        trained.hardware.device,
        cfg.protocols,
        method.settings.prompts if cfg.prompts is None else cfg.prompts,
        cfg.class_names or (method.settings.class_names if own else None),
        epoch=trained.epoch,
        preprocessing=data.preprocessing(),
    )
    if not scores:
        raise ValueError(f"{config.dataset}: {nothing_to_score(cfg.protocols, data)}")
    asked = {
        key: value for key, value in cfg.data.items() if value is not None or key == "held_out"
    }
    name = _named("zeroshot", {**given, **asked})
    folder = results_folder(cfg.output or evaluation_folder(pretrained, config.dataset, name))
    results = {
        **trained.origin(),
        "dataset": config.dataset,
        "scored_on": data.scored_on,
        "classes": list(data.classes),
        **scores,
        "seed": trained.cfg.seed,
        **provenance(trained.hardware),
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_json(folder / "results.json", results)
    print_summary(console, f"texts of {results['name']}", _rows(results), folder)
    return Outcome(RunFolder(folder), results)


def images_of(given: Mapping[Any, Any], trained_on: Mapping[Any, Any]) -> DataConfig:
    """Return which images are scored: those given, else the run's, with labels if it had them.

    Args:
        given: keys of data of the command; see `choose_data`.
        trained_on: those of the run.
    """
    given = dict(given)
    if given.get("dataset") in (None, trained_on["dataset"]) and given.get("no_labels") is None:
        given["no_labels"] = trained_on["no_labels"]
    return choose_data(given, trained_on)


def _named(name: str, given: Mapping[str, Any]) -> str:
    """Return the name of results, another one for each choice of what is given."""
    if not given:
        return name
    chosen = json.dumps(OmegaConf.to_container(OmegaConf.create(dict(given))), sort_keys=True)
    return f"{name}-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}"


def _rows(scores: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    if ZERO_SHOT in scores:
        one = scores[ZERO_SHOT]
        low, high = one["interval"]
        told = f" top-1 (chance {one['chance']:.4f}; untrained {one['untrained_top1']:.4f}; "
        told += f"95 % {low:.3f} to {high:.3f}; {one['num_test']} images)"
        yield ZERO_SHOT, Text.assemble((f"{one['top1']:.4f}", "bold green"), told)
        yield "prompts", ", ".join(one["settings"]["prompts"])
    if RETRIEVAL in scores:
        yield from recalls_in_words(scores[RETRIEVAL])
    yield "scored on", scores["scored_on"]
    yield "files", "results.json"
