"""Methods × seeds under one budget: trained, ranked and documented."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.text import Text

from solo_ldm.commands.compare.contrasts import contrasts_markdown, contrasts_of
from solo_ldm.commands.compare.differences import budget_differences, budget_of, published_line
from solo_ldm.commands.compare.entries import Entry, prepare_entries
from solo_ldm.commands.compare.grid_picture import draw_cells, draw_contrasts
from solo_ldm.commands.compare.picture import draw_comparison
from solo_ldm.commands.compare.ranking import percent, rank_methods
from solo_ldm.commands.compare.records import Records, on_same_data
from solo_ldm.commands.compare.report import print_comparison
from solo_ldm.commands.compare.runs import Result, Run, find_result
from solo_ldm.commands.compare.table import Comparison, csv_text, markdown
from solo_ldm.commands.compare.waiting import Waiting
from solo_ldm.commands.compare.workers import Submit, launch_elsewhere, train_all
from solo_ldm.config.places import results_folder
from solo_ldm.files import write_json, write_text
from solo_ldm.plotting.page import save
from solo_ldm.run.console import plain_console
from solo_ldm.run.record import provenance

TABLE, ROWS, PICTURE, RECORD = "table.md", "table.csv", "comparison.png", "results.json"
# Of comparisons that hold a grid.
CELLS, CONTRASTS = "cells.png", "contrasts.png"


def run(cfg: DictConfig, console: Console | None = None, configs: Path | None = None) -> Comparison:
    """Train every method with every seed, unless it was, and rank them.

    All that can be wrong with an entry is found before the first run starts. A run that fails is a
    line of the table, and is repeated by the next call. Without cfg.train nothing is trained: runs
    that are not finished are left out.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.
        configs: a folder of the user's own configurations; --config-path if not given.

    Returns:
        The comparison; its files are in cfg.output.
    """
    console = plain_console(console)
    with console.status("checking every entry"):
        entries = prepare_entries(cfg, configs or _config_path())
    differences = budget_differences(entries)
    for label, line in differences.items():
        notice = f"{label} differs from the others: {line}"
        console.print(notice, style="yellow", soft_wrap=True, highlight=False)
    launch = launch_elsewhere(cfg.output) if cfg.train else None
    folder = results_folder(cfg.output)
    results = _run_all(cfg, entries, folder, launch, console)
    if not cfg.train:
        without = [entry.label for entry in entries if not results[entry.label]]
        if without:
            line = f"left out: {len(without)} of {len(entries)} methods, as no run is finished: "
            console.print(line + "; ".join(without), soft_wrap=True, highlight=False, markup=False)
        entries = [entry for entry in entries if results[entry.label]]
        differences = {e.label: differences[e.label] for e in entries if e.label in differences}
    comparison = _ranked(cfg, entries, differences, results)
    text, pictures = markdown(comparison, PICTURE), {PICTURE: draw_comparison(comparison)}
    found = contrasts_of(comparison)
    if found is not None:
        text += "\n".join(["", *contrasts_markdown(found, comparison, CONTRASTS)])
        pictures[CELLS] = draw_cells(comparison, found)
        pictures[CONTRASTS] = draw_contrasts(comparison, found)
    write_text(folder / TABLE, text)
    write_text(folder / ROWS, csv_text(comparison))
    for name, picture in pictures.items():
        save(folder / name, picture)
    written = [folder / name for name in (TABLE, ROWS, *pictures, RECORD)]
    if cfg.copy_to is not None:
        target = Path(cfg.copy_to)
        target.mkdir(parents=True, exist_ok=True)
        written += [Path(shutil.copy(folder / name, target)) for name in (*pictures, TABLE)]
    print_comparison(comparison, written, console)
    return comparison


def _run_all(
    cfg: DictConfig,
    entries: Sequence[Entry],
    folder: Path,
    launch: Submit | None,
    console: Console,
) -> dict[str, list[Result]]:
    """Return the results of every entry, and write results.json after each.

    Seeds are the outer loop, so that an unfinished comparison is balanced.
    """
    runs = [Run(e.label, seed, e.runs[seed], e.data) for seed in cfg.seeds for e in entries]
    results: dict[str, list[Result]] = {entry.label: [] for entry in entries}
    records = Records(cfg.records, console.print)
    ended: dict[Run, Result] = {}
    for run in runs:
        recorded = records.find(run)
        found = recorded or find_result(run)
        if found is None:
            continue
        ended[run] = found
        if recorded is None:
            records.keep(run, found)
    if not cfg.train:  # else all are on the data that are opened
        ended = on_same_data(ended, console.print)
    for run, result in ended.items():
        results[run.label].append(result)
    waiting = [run for run in runs if run not in ended]
    if not cfg.train and len(waiting) == len(runs):
        raise ValueError(
            "train=false: expected runs that are finished, got none in records or checkpoint.dir; "
            "leave it out"
        )
    methods = f"{len(entries)} methods" if len(entries) > 1 else "1 method"
    console.print(
        Text.assemble(
            (cfg.name, "bold"),
            f": {methods} × {len(cfg.seeds)} seeds, "
            + (
                f"{cfg.jobs} at a time (jobs)"
                if cfg.train
                else "the finished ones alone (train=false)"
            )
            + f"; {len(runs) - len(waiting)} of {len(runs)} runs are finished already; runs are in "
            f"{cfg.checkpoint.dir} (checkpoint.dir), tables in {folder} (output)"
            + (f", records in {cfg.records} (records)" if cfg.records else ""),
        ),
        soft_wrap=True,
    )
    write_json(folder / RECORD, _record(cfg, entries, results))
    if not cfg.train:
        return results
    of = {(run.label, run.seed): run for run in waiting}
    for result in _watched(Waiting(waiting), len(runs), cfg, launch, console):
        results[result.label].append(result)
        records.keep(of[result.label, result.seed], result)
        write_json(folder / RECORD, _record(cfg, entries, results))
    return results


def _watched(
    waiting: Waiting, total: int, cfg: DictConfig, launch: Submit | None, console: Console
) -> Iterator[Result]:
    """Train runs, and show each score or error and the time left."""
    started, left = time.monotonic(), len(waiting)
    finished = total - left
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=total, completed=finished)

            def name(run: Run) -> None:
                text = f"training {escape(run.label)}, seed {run.seed}"
                progress.update(task, description=text)

            for done, result in enumerate(train_all(waiting, cfg.jobs, name, launch), 1):
                yield result
                line, style = f"{result.label}, seed {result.seed}: ", None
                if result.finished:
                    score = percent(result.top1(cfg.rank_by))
                    line += f"{cfg.rank_by} {score} % in {result.seconds:.0f} s"
                else:
                    line, style = f"{line}failed: {result.error}", "red"
                line += f"; {finished + done} of {total} runs"
                if done < left:
                    seconds = (time.monotonic() - started) / done * (left - done)
                    line += f", {seconds / 60:.0f} min left"
                console.print(line, style=style, soft_wrap=True, highlight=False)
                progress.update(task, advance=1)
    except (KeyboardInterrupt, SystemExit):
        going = "jobs of hydra/launcher may go on; " if launch else ""
        console.print(f"stopped; {going}the same command continues")
        raise


def _ranked(
    cfg: DictConfig,
    entries: Sequence[Entry],
    differences: dict[str, str],
    results: dict[str, list[Result]],
) -> Comparison:
    on_sphere = {entry.label: entry.description.on_sphere for entry in entries}
    results = {entry.label: results[entry.label] for entry in entries}
    # Sentences about classes are labels.
    from_labels = [entry.label for entry in entries if entry.cfg.data.class_captions is not None]
    standings = rank_methods(results, list(cfg.protocols), cfg.rank_by, on_sphere, from_labels)
    return Comparison(
        name=cfg.name,
        protocols=tuple(cfg.protocols),
        rank_by=cfg.rank_by,
        # Without training those that there are.
        seeds=tuple(
            seed
            for seed in cfg.seeds
            if cfg.train or any(run.seed == seed for given in results.values() for run in given)
        ),
        standings=tuple(standings),
        cells={entry.label: entry.cell for entry in entries},
        configs={entry.label: (entry.spec.config, entry.spec.overrides) for entry in entries},
        differences=differences,
        published={
            entry.label: published_line(
                OmegaConf.to_container(entry.cfg), entry.description.settings
            )
            for entry in entries
        },
    )


def _record(
    cfg: DictConfig, entries: Sequence[Entry], results: dict[str, list[Result]]
) -> dict[str, Any]:
    """Return the content of results.json: the configuration, and the state of each run."""
    runs = []
    for entry in entries:
        ended = {result.seed: result for result in results[entry.label]}
        for seed in entry.runs:
            about: dict[str, Any] = {"label": entry.label, "seed": seed, "status": "waiting"}
            result = ended.get(seed)
            if result is not None:
                about["status"] = "finished" if result.finished else "failed"
                about |= {key: getattr(result, key) for key in ("path", "error", "trace")}
            runs.append(about)
    return {
        "comparison": OmegaConf.to_container(cfg),
        **provenance(),
        "methods": [
            {
                "label": entry.label,
                "config": entry.spec.config,
                "overrides": entry.spec.overrides,
                "headline": entry.description.headline,
                "resolved": OmegaConf.to_container(entry.cfg),
            }
            for entry in entries
        ],
        "budget": budget_of(OmegaConf.to_container(entries[0].cfg)),
        "runs": runs,
    }


def _config_path() -> Path | None:
    """Return the folder that --config-path names; None for the packaged configurations."""
    if HydraConfig.initialized():
        for source in HydraConfig.get().runtime.config_sources:
            if source.provider == "main" and source.schema == "file":
                return Path(source.path)
    return None
