"""A linear evaluation: from pretrained weights and a configuration to a documented score."""

from __future__ import annotations

import time
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text
from safetensors.torch import save_file

from solo_ldm.commands.linear.report import content_of, print_report, write_picture
from solo_ldm.commands.linear.schema import protocols
from solo_ldm.commands.linear.setup import online_classifier, set_up
from solo_ldm.commands.linear.training import train_seeds
from solo_ldm.commands.shared.inputs import Evaluation
from solo_ldm.evaluation.protocols import ONLINE, TRAINED
from solo_ldm.evaluation.scores import evaluate, score_online
from solo_ldm.files import weights_written, write_atomically
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import save_args
from solo_ldm.run.hardware import resolve_hardware
from solo_ldm.run.record import Outcome
from solo_ldm.run.trainer import is_helper_process


def run(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Do the work of `solo_ldm.commands.linear`, with the completed configuration.

    Everything that can be wrong with the configuration, the weights or the data is found before
    the first file is written.
    """
    console = plain_console(console, is_helper_process())
    hardware = resolve_hardware(cfg)
    if cfg.seeds is not None and hardware.num_processes > 1:
        raise ValueError(
            f"seeds={list(cfg.seeds)} takes one device, got {hardware.num_processes}; run the "
            "command once for each seed=NUMBER"
        )
    if cfg.resume_from_checkpoint is not None and cfg.protocol not in TRAINED:
        raise ValueError(
            f"resume_from_checkpoint: expected null for protocol={cfg.protocol}, which trains no "
            f"epochs, got {cfg.resume_from_checkpoint}"
        )
    work = set_up(cfg, hardware, console.print)
    _announce(console, work)
    results = train_seeds(work, console) if cfg.protocol in TRAINED else _score(work, console)
    if results is None:
        return None
    write_picture(work, results)
    results |= weights_written(work.folder.path)
    work.folder.write_results(results)
    print_report(work, results, console)
    return Outcome(work.folder, results)


def _score(work: Evaluation, console: Console) -> dict[str, Any]:
    """Score by a protocol that trains nothing by gradients here."""
    cfg, data, backbone = work.cfg, work.data, work.pretrained.backbone
    save_args(work.folder, cfg)
    start = time.perf_counter()
    test = work.features("val", console, backbone)
    if cfg.protocol != ONLINE:
        train = work.features("train", console, backbone)
        with console.status(cfg.protocol):
            score = evaluate(cfg.protocol, train, test, **work.record)
    else:
        classifier = online_classifier(work.pretrained, data)
        score = score_online(classifier, test, num_train=data.num_train_images, **work.record)
        weights = {f"linear.{key}": value for key, value in classifier.state_dict().items()}
        write_atomically(work.folder.classifier, lambda path: save_file(weights, path))
    return {**content_of(work, score), "seconds": time.perf_counter() - start}


def _announce(console: Console, work: Evaluation) -> None:
    cfg, pretrained, data = work.cfg, work.pretrained, work.data
    for notice in (*work.hardware.notices, *data.notices):
        console.print(notice, style="yellow", soft_wrap=True)
    epochs = f", {cfg.max_epochs} epochs" if cfg.protocol in TRAINED else ""
    console.print(
        Text.assemble(
            (cfg.protocol, "bold"),
            f": {protocols()[cfg.protocol]}; {pretrained.backbone_name} from {pretrained.source} "
            f"on {cfg.data.dataset} ({data.num_train_images} images, {data.num_classes} classes)"
            f"{epochs} on {work.hardware.accelerator}",
        ),
        soft_wrap=True,
    )
    console.print(f"writing to {work.folder.path}", soft_wrap=True)
