"""One predictive run from a configuration to trained, evaluated and documented latents."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from predictive.commands.predictive.picture import write_pictures
from predictive.commands.predictive.results import content_of, report
from predictive.evaluation import Assessment, assess, unidentifiable
from predictive.training import PredictiveRun, build_data, data_identity, train
from solo_ldm.files import weights_written
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import choose_run
from solo_ldm.run.hardware import resolve_hardware
from solo_ldm.run.record import Outcome
from solo_ldm.run.trainer import is_helper_process


def run(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Do the work of `predictive.commands.predictive`, with the completed configuration.

    Everything that can be wrong with the configuration, the data or a checkpoint is found before
    the first file is written.
    """
    console = plain_console(console, is_helper_process())
    hardware = resolve_hardware(cfg)
    with console.status("data"):
        data = build_data(cfg)
    for line in unidentifiable(cfg, data):
        console.print(line, style="yellow", soft_wrap=True)
    folder = choose_run(cfg, data=data_identity(cfg), say=console.print)
    trained = train(cfg, data, hardware, folder, console)
    if trained is None:
        return None
    results, _ = document(trained, console)
    report(trained, results, console)
    return Outcome(folder, results)


def document(trained: PredictiveRun, console: Console) -> tuple[dict[str, Any], Assessment]:
    """Evaluate a trained run, and write results.json and the pictures.

    Returns:
        The content of results.json, and the evaluation.
    """
    with console.status("evaluating") as status:
        assessment = assess(
            trained.cfg,
            trained.method,
            trained.untrained,
            trained.data,
            trained.hardware.device,
            lambda what: status.update(f"evaluating: {what}"),
        )
        results = content_of(trained, assessment)
        if trained.cfg.evaluation.report:
            status.update("pictures")
            write_pictures(trained, assessment)
    results |= weights_written(trained.folder.path)
    trained.folder.write_results(results)
    return results, assessment
