"""Diagnostics of features: from weights to results.json, a table and a picture."""

from __future__ import annotations

import time
from functools import partial

from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from solo_ldm.commands.diagnostics.encoding import encode, jacobian_images
from solo_ldm.commands.diagnostics.measures import Measured, measure
from solo_ldm.commands.diagnostics.picture import write_diagnostics
from solo_ldm.commands.diagnostics.report import (
    content_of,
    name_of,
    notices_of,
    num_images,
    print_report,
    write_spectra,
)
from solo_ldm.commands.diagnostics.subject import Encoder, prepare
from solo_ldm.files import write_json
from solo_ldm.run.console import plain_console
from solo_ldm.run.record import Outcome


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Do the work of `solo_ldm.commands.diagnostics`, with the completed configuration."""
    console = plain_console(console)
    started = time.perf_counter()
    subject = prepare(cfg, console)
    encoded = encode(subject, console)
    images = jacobian_images(subject) if cfg.num_jacobian_images else None
    spaces = next(iter(subject.encoders.values())).spaces
    found: dict[str, dict[str, Measured]] = {space: {} for space in spaces}
    for space, columns in spaces.items():
        for network, encoder in subject.encoders.items():
            with console.status(f"measuring: {space} of the {network} network"):
                found[space][network] = measure(
                    encoded[network].space(columns),
                    partial(_columns, encoder, columns),
                    images,
                    classify=space == "features",
                )
    notices = [*subject.notices, *notices_of(found)]
    results = content_of(subject, found, notices)
    folder = subject.work.folder
    results["seconds"] = round(time.perf_counter() - started, 3)
    write_json(folder.results, results)
    write_spectra(folder.path / "spectrum.csv", found)
    about = subject.work
    write_diagnostics(
        folder.path / "diagnostics.png",
        f"{name_of(subject)}: what is in the features of {about.pretrained.backbone_name}",
        f"{num_images(found)} {about.data.scored_on}; dashed: the same network untrained",
        found,
        about.data.classes,
    )
    print_report(subject, found, notices[len(subject.notices) :], console)
    return Outcome(folder, results)


def _columns(encoder: Encoder, columns: slice, images: Tensor) -> Tensor:
    return encoder(images)[:, columns]
