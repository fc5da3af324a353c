"""Decoding over all folds of a data set: one method trained for each, pooled scores."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from predictive.commands.predictive.picture import score_bar
from predictive.commands.predictive.results import score_content
from predictive.commands.predictive.run import document
from predictive.data.sequences import TimeSeriesData
from predictive.data.targets import TargetKind
from predictive.decoding.intervals import Coverage, coverage
from predictive.decoding.score import DecodingScore, combine_folds
from predictive.evaluation import Assessment, assess, check_calibration
from predictive.features import LATENT_STATE
from predictive.pictures import Decoded, position_rows, score_rows
from predictive.training import build_data, build_method, build_windows, data_identity, train
from solo_ldm.plotting.page import Rows, write_page
from solo_ldm.run.console import plain_console
from solo_ldm.run.data_identity import DataIdentity
from solo_ldm.run.folder import RunFolder, choose_run, find_finished, identity, save_args
from solo_ldm.run.hardware import Hardware, resolve_hardware
from solo_ldm.run.record import Outcome, print_summary, provenance
from solo_ldm.weights.checkpoint import read_checkpoint, whole_state


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: its data, its run and its evaluation."""

    data: TimeSeriesData
    folder: RunFolder
    assessment: Assessment


def run(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Decode targets from latents and from spikes, each bin held out once.

    For each fold a method is trained on the other blocks, without their targets, and decoders are
    fitted there. Each fold is an ordinary run with a folder of its own; finished runs of the same
    configuration are reused.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Returns:
        The outcome, or None when training was interrupted.

    Raises:
        ValueError: in one line: data without folds, more than one process, and as `predictive`.
        FileNotFoundError: as `predictive`.
    """
    console = plain_console(console)
    count = cfg.data.get("folds")
    if count is None or cfg.data.get("split", "blocks") != "blocks":
        raise ValueError(
            "data.folds: expected data in folds, got none for "
            f"data.dataset={cfg.data.dataset}; use data=place_cells, or data=recording with "
            "data.split=blocks"
        )
    if cfg.data.dataset == "frames":
        raise ValueError(
            "data.dataset: expected spikes or signals, which targets are decoded from for "
            "comparison, got frames; use solo-ldm predictive with data.fold=0, 1, …"
        )
    if cfg.resume_from_checkpoint is not None:
        raise ValueError(
            "resume_from_checkpoint: expected null, as one checkpoint for all folds would have "
            f"seen their held-out blocks, got {cfg.resume_from_checkpoint}; unfinished folds "
            "continue by themselves"
        )
    if not cfg.evaluation.kinds:
        raise ValueError("evaluation.kinds: expected at least one of linear, mlp, got none")
    hardware = resolve_hardware(cfg)
    if hardware.num_processes > 1:
        raise ValueError(f"devices: expected 1 for decode, got {hardware.num_processes}")
    # data.fold has no effect: all folds are held out in turn.
    content = {"folds": count, **identity(cfg, ["data.fold"])}
    recording = data_identity(cfg)
    parts: list[tuple[DictConfig, TimeSeriesData]] = []
    with console.status("data"):
        for number in range(count):
            part: Any = OmegaConf.create(OmegaConf.to_container(cfg))
            part.data.fold = number
            parts.append((part, build_data(part)))
            # What does not fit is said before any training.
            build_windows(*parts[-1], hardware)
            check_calibration(*parts[-1])
    folder = choose_run(cfg, "decode", content, recording)
    folds: list[Fold] = []
    for number, (part, data) in enumerate(parts):
        console.print(f"fold {number + 1} of {count}", style="bold")
        if data_identity(cfg) != recording:
            raise ValueError(
                f"data.path: {cfg.data.path} has changed while folds were trained; decode it again"
            )
        fold = _fold(part, data, recording, hardware, console)
        if fold is None:
            return None
        folds.append(fold)
    save_args(folder, cfg)
    results = _documented(cfg, folds, hardware, folder)
    folder.write_results(results)
    _report(results, folder, console)
    return Outcome(folder, results)


def _fold(
    cfg: DictConfig,
    data: TimeSeriesData,
    recording: DataIdentity | None,
    hardware: Hardware,
    console: Console,
) -> Fold | None:
    """Evaluate one fold, trained now or by an earlier command."""
    found = find_finished(cfg, data=recording, say=console.print)
    if found is not None:
        console.print(f"trained before: {found.path}", soft_wrap=True)
        pl.seed_everything(cfg.seed, verbose=False)
        method = build_method(cfg, data, hardware)
        untrained = copy.deepcopy(method.state_dict())
        method.load_state_dict(whole_state(read_checkpoint(found.last), found.last))
        with console.status("evaluating") as status:
            assessment = assess(
                cfg, method, untrained, data, hardware.device, lambda what: status.update(what)
            )
        return Fold(data, found, assessment)
    folder = choose_run(cfg, data=recording, say=console.print)
    trained = train(cfg, data, hardware, folder, console)
    if trained is None:
        return None
    _, assessment = document(trained, console)
    return Fold(data, folder, assessment)


def _documented(
    cfg: DictConfig, folds: list[Fold], hardware: Hardware, folder: RunFolder
) -> dict[str, Any]:
    """Pool the folds, write the pictures, and return the content of results.json."""
    targets = list(folds[0].assessment.scores)
    combined = {
        target: combine_folds([fold.assessment.scores[target] for fold in folds])
        for target in targets
    }
    covered = {target: _coverage(folds, target) for target in targets}
    for target in targets:
        suffix = "" if len(targets) == 1 else f"-{target}"
        bars = [score_bar(one) for one in combined[target]]
        write_page(folder.path / f"scores{suffix}.png", score_rows(bars), "R² of decoders")
        over_time = _over_time(folds, target, combined[target], covered)
        write_page(folder.path / f"{target}.png", over_time, f"decoded {target}")
    return {
        "protocol": (
            "each block held out once; method and decoders trained on the other blocks, decoded "
            "bins of all folds pooled; null: training targets shifted circularly in time"
        ),
        "method": cfg.method,
        "entropy": cfg.objective.entropy,
        "data": folds[0].data.description,
        "folds": [str(fold.folder.path) for fold in folds],
        "seed": cfg.seed,
        **provenance(hardware),
        "results": {
            target: {
                "scores": [
                    {
                        **score_content(one),
                        "r2_per_fold": list(one.r2_per_fold),
                        "spread": one.spread,
                    }
                    for one in combined[target]
                ],
                "coverage": covered[target].fraction,
                "coverage_interval": [covered[target].low, covered[target].high],
                "coverage_per_fold": [
                    fold.assessment.intervals[target].coverage.fraction for fold in folds
                ],
                "per_fold": [
                    [score_content(one) for one in fold.assessment.scores[target]] for fold in folds
                ],
            }
            for target in targets
        },
    }


def _decoded(fold: Fold, target: str) -> dict[str, Tensor]:
    """Return the true target of held-out bins and its interval, (M, k) each."""
    held_out = fold.assessment.held_out
    interval = fold.assessment.intervals[target].interval
    kind = fold.data.kinds.get(target, TargetKind())
    true = kind.near(held_out.rows(held_out.sequences.targets[target]), interval.mean)
    return {"true": true, "mean": interval.mean, "low": interval.low, "high": interval.high}


def _coverage(folds: list[Fold], target: str) -> Coverage:
    each = [_decoded(fold, target) for fold in folds]
    return coverage(*(torch.cat([one[name] for one in each]) for name in ("true", "low", "high")))


def _over_time(
    folds: list[Fold], target: str, scores: list[DecodingScore], covered: dict[str, Coverage]
) -> Rows:
    """Draw the held-out sequences of all folds in the order of time."""
    columns: dict[str, list[Tensor]] = {}
    for fold in folds:
        held_out, kind = fold.assessment.held_out, scores[-1].kind
        pairs = {(one.features, one.kind): one for one in fold.assessment.scores[target]}
        rows = _decoded(fold, target)
        score = pairs[fold.data.kind, kind]
        rows["direct"] = score.target.near(score.predictions, rows["mean"])
        laid = {name: held_out.spread(values) for name, values in rows.items()}
        laid["seconds"] = held_out.sequences.seconds[..., None]
        for name, values in laid.items():
            columns.setdefault(name, []).extend(values.double())
    order = sorted(range(len(columns["seconds"])), key=lambda i: float(columns["seconds"][i][0, 0]))
    padded = {
        name: torch.nn.utils.rnn.pad_sequence(
            [values[i] for i in order], batch_first=True, padding_value=math.nan
        )
        for name, values in columns.items()
    }
    best = {
        features: max((one.r2 for one in scores if one.features == features), default=None)
        for features in (LATENT_STATE, folds[0].data.kind)
    }
    return position_rows(
        # Padded bins have no time; nothing is drawn there.
        torch.nan_to_num(padded["seconds"][..., 0], nan=0.0),
        padded["true"],
        Decoded(
            padded["mean"],
            padded["low"],
            padded["high"],
            r2=best[LATENT_STATE],
            coverage=covered[target].fraction,
        ),
        Decoded(padded["direct"], r2=best[folds[0].data.kind]),
        target,
        folds[0].data.units.get(target, ""),
    )


def _report(results: dict[str, Any], folder: RunFolder, console: Console) -> None:
    rows = []
    for target, found in results["results"].items():
        table = Table(title=f"{target} on held-out time, {len(results['folds'])} folds")
        for name in ("decoded from", "decoder", "R²", "folds ±", "null at most", "median error"):
            table.add_column(name, justify="left" if name.startswith("decode") else "right")
        best = max(one["r2"] for one in found["scores"])
        for one in found["scores"]:
            numbers = (one[key] for key in ("r2", "spread", "null_high", "median_absolute_error"))
            r2, *others = (f"{number:.3f}" for number in numbers)
            r2 = Text(r2, "bold green" if one["r2"] == best else "")
            table.add_row(one["features"], one["decoder"], r2, *others)
        console.print(table)
        inside = f"{100 * found['coverage']:.1f} % of held-out bins lie in the 95 % interval"
        rows.append((target, f"{inside} of the {target} decoded from the latent state"))
    pictures = sorted(path.name for path in folder.path.glob("*.png"))
    rows.append(("files", ", ".join([folder.results.name, *pictures])))
    follow_ups = ["solo-ldm decode --config-name recording data.path=FILE  # your recording"]
    print_summary(console, results["data"], rows, folder.path, follow_ups)
