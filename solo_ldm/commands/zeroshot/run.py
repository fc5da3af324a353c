"""Evaluation by texts: from a run's weights to results.json."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from solo_ldm.commands.shared.inputs import images_since
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
    trained = load_method(cfg.pretrained_feature_extractor, cfg.accelerator, cfg.data)
    method = trained.method
    if not isinstance(method, Cross):
        raise ValueError(
            f"{trained.folder.path} encodes no texts: expected a run with method=cross "
            f"(--config-name clip), got {trained.cfg.method}"
        )
    prompts = method.settings.prompts if cfg.prompts is None else cfg.prompts
    given = [key for key in ("prompts", "class_names") if cfg[key]]
    for notice in (
        *trained.data.notices,
        *images_since(trained.folder.path, trained.data),
        *unscored(cfg.protocols, trained.data, given),
    ):
        console.print(notice, style="yellow", soft_wrap=True)
    folder = results_folder(cfg.output or trained.folder.path / "evaluation/zeroshot")
    untrained = trained.untrained()
    untrained.text.tokens = method.text.tokens
    scores = score_texts(
        {"trained": method, "untrained": untrained},
        trained.data,
        trained.hardware.device,
        cfg.protocols,
        prompts,
        cfg.class_names or method.settings.class_names,
        epoch=trained.epoch,
        preprocessing=trained.data.preprocessing(),
    )
    if not scores:
        lacking = nothing_to_score(cfg.protocols, trained.data)
        raise ValueError(f"{trained.cfg.data.dataset}: {lacking}")
    results = {
        **trained.origin(),
        "classes": list(trained.data.classes),
        **scores,
        "seed": trained.cfg.seed,
        **provenance(trained.hardware),
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_json(folder / "results.json", results)
    print_summary(console, f"texts of {results['name']}", _rows(results), folder)
    return Outcome(RunFolder(folder), results)


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
