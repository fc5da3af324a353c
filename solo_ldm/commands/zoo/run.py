"""`solo-ldm zoo list | show | download | verify | publish`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from solo_ldm import zoo
from solo_ldm.commands.shared.progress import progress_bar
from solo_ldm.commands.zoo.places import Places, keys_of_data
from solo_ldm.config.errors import Parser, printing
from solo_ldm.config.places import check_place
from solo_ldm.config.schema import check_path
from solo_ldm.run.console import plain_console
from solo_ldm.weights.published.download import fetch
from solo_ldm.weights.published.entry import CONFIG, WEIGHTS
from solo_ldm.weights.published.manifest import read_manifest
from solo_ldm.zoo.cards import METRICS, compared, formatted, scores_line, spread, tolerance
from solo_ldm.zoo.kinds import DataNotHereError, usage

# Exit code where no score differs, but some were not measured for want of data.
_LEFT_OUT = 3


def run(argv: Sequence[str], console: Console | None = None) -> int:
    """Do what the command line after `solo-ldm zoo` says; 1 where a score is not as published, 3
    where data are lacking to measure some."""
    given = _parser().parse_args(argv)
    shown = plain_console(console)
    with printing():
        code = given.work(given, shown)
        failed = getattr(shown, "failed", None)
        if failed is not None:
            raise failed
    return code


def _parser() -> argparse.ArgumentParser:
    parser = Parser("solo-ldm zoo", description="Pretrained models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, help: str, work: Any) -> Any:
        one = commands.add_parser(name, help=help, description=help)
        one.set_defaults(work=work)
        return one.add_argument

    add("list", "the models and their scores", _list)
    argument = add("show", "all that is known of a model", _show)
    argument("name", metavar="NAME")
    argument = add("download", "download a model's files and print their paths", _download)
    argument("name", metavar="NAME")
    argument("--all", action="store_true", help="the training state too")
    argument = add("verify", "measure the published scores again", _verify)
    argument("names", nargs="*", metavar="NAME", help="all by default")
    argument("--data", nargs="*", default=[], metavar="FOLDER",
             help="where the data are that do not come with the models; for several data sets "
             "DATASET=FOLDER; or KEY=VALUE, keys of data.*")  # fmt: skip
    argument = add("publish", "make an entry of finished runs", _publish)
    argument("runs", nargs="+", metavar="RUN", help="folders of runs that differ only in the seed; "
             "the first one's weights are published, with the scores of all")  # fmt: skip
    argument("--name", required=True, help="of the entry; with keys of results.json in braces "
             "({latent}-{entropy}-{over}-{dataset}) runs make an entry a name, and the weights of "
             "the lowest seed are published")  # fmt: skip
    argument("--licence", required=True, help="of the data")
    argument("--dataset", help="name of the data, for data=custom")
    own = os.environ.get("SOLO_LDM_ZOO", "zoo")
    argument("--zoo", default=own, metavar="FOLDER", help="that holds manifest.yaml")
    argument("--url", action="append", default=[], metavar="URL",
             help="of a mirror, with {name} and {file}; may be repeated")  # fmt: skip
    argument("--training-state", action="store_true",
             help="add the last checkpoint, to continue training from")  # fmt: skip
    argument("--evaluation", action="append", default=[], metavar="FOLDER",
             help="results of solo-ldm linear; may be repeated")  # fmt: skip
    argument("--data", nargs="*", default=[], metavar="KEY=VALUE",
             help="where the data are now, if they were moved")  # fmt: skip
    return parser


def _list(given: argparse.Namespace, console: Console) -> int:
    entries = [*read_manifest().values()]
    if not entries:
        console.print("the zoo is empty: publish a run with solo-ldm zoo publish")
        return 0
    table = Table(title="the zoo")
    for column in ("name", "what it is", "data", "score", "untrained", "MB"):
        table.add_column(column, overflow="fold", no_wrap=column == "MB")
    for entry in entries:
        first = entry.results[0]
        table.add_row(
            entry.name,
            entry.headline,
            entry.dataset,
            f"{formatted(first, first.value)} {first.protocol}",
            formatted(first, first.baseline),
            f"{entry.file(WEIGHTS).size / 1e6:.2f}",
        )
    console.print(table)
    console.print(f"next: solo-ldm zoo show {entries[0].name}", highlight=False)
    return 0


def _show(given: argparse.Namespace, console: Console) -> int:
    entry = zoo.entry(given.name)
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column(overflow="fold")
    body.add_row("what", f"{entry.backbone} by {entry.method} on {entry.dataset}: {entry.headline}")
    for one in entry.results:
        line = f" {METRICS[one.metric]}"
        if one.baseline is not None:
            line += f"; untrained {formatted(one, one.baseline)}"
        if one.std is not None:
            line += f"; over seeds {spread(one)}"
        line += f"; {one.num_samples} test samples"
        body.add_row(one.protocol, Text.assemble((formatted(one, one.value), "bold green"), line))
    body.add_row(
        "trained",
        f"{entry.epochs} epochs, batch {entry.batch_size}, seed {entry.seed}, "
        f"{entry.seconds:.0f} s on {entry.hardware}, {entry.date}",
    )
    body.add_row("by", entry.command)
    body.add_row("code", f"commit {entry.commit or 'unknown'}, torch {entry.versions.get('torch')}")
    body.add_row("data", f"{entry.dataset}, {entry.licence}, sha256 {entry.dataset_sha256[:16]}…")
    if entry.reference is not None:
        body.add_row("elsewhere", compared(entry))
    for one in entry.files:
        place = f"downloaded from {one.urls[0]}" if one.urls else "in the folder of the zoo"
        body.add_row(one.name, f"{one.size:,} bytes, sha256 {one.sha256[:16]}…, {place}")
    console.print(Panel(body, title=Text(f"zoo:{entry.name}"), expand=False))
    console.print(usage(entry.kind, entry.name), highlight=False, markup=False, soft_wrap=True)
    console.print(f"next: solo-ldm zoo verify {entry.name}", highlight=False)
    return 0


def _download(given: argparse.Namespace, console: Console) -> int:
    entry = zoo.entry(given.name)
    names = [one.name for one in entry.files] if given.all else [CONFIG, WEIGHTS]
    for name in names:
        path = fetch(entry, name)
        console.print(f"{path}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"next: solo-ldm zoo verify {entry.name}", highlight=False)
    return 0


def _verify(given: argparse.Namespace, console: Console) -> int:
    entries = [zoo.entry(name) for name in given.names] or [*read_manifest().values()]
    places = Places(given.data, entries, named=bool(given.names))
    failed, left_out = list[str](), dict[str, list[str]]()
    table = Table(title="verified")
    for column in ("name", "protocol", "published", "here", "tolerance", ""):
        # A long name takes lines of its own rather than the room of what it scores.
        table.add_column(column, overflow="fold", no_wrap=column not in ("name", "protocol"),
                         min_width=15 if column == "protocol" else None)  # fmt: skip
    for entry in entries:
        try:
            zoo.files(entry.name)  # a download has a progress bar of its own
            with progress_bar(console, entry.name) as progress:
                found = zoo.verify(entry.name, places.of(entry), progress)
        except (ValueError, FileNotFoundError) as error:
            if given.names:
                raise
            if isinstance(error, DataNotHereError):
                left_out.setdefault(entry.dataset, []).append(entry.name)
            else:  # the others are verified all the same
                console.print(f"{entry.name}: {error}", style="red", soft_wrap=True)
                failed.append(entry.name)
            continue
        for number, check in enumerate(found.checks):
            one = check.published
            table.add_row(
                entry.name if number == 0 else "",
                one.protocol,
                formatted(one, one.value),
                formatted(one, check.measured.value),
                tolerance(one),
                _verdict(check),
            )
        if not found.same_data:
            table.add_row(entry.name, "data", "", "", "", Text("other data", "red"))
        if not found.passed:
            failed.append(entry.name)
    if table.rows:
        console.print(table)
    for dataset, names in left_out.items():
        console.print(
            f"left out, as their data ({dataset}) do not come with them and no --data "
            f"{dataset}=FOLDER says where they are: {', '.join(names)}",
            style="yellow",
            soft_wrap=True,
        )
    if failed:
        console.print(f"not as published: {', '.join(failed)}", style="red", soft_wrap=True)
        return 1
    if left_out:
        count = sum(map(len, left_out.values()))
        console.print(f"verified {len(entries) - count} of {len(entries)}: exit code {_LEFT_OUT}")
        return _LEFT_OUT
    if entries:
        console.print(f"next: solo-ldm zoo show {entries[0].name}", highlight=False)
    return 0


def _verdict(check: zoo.Check) -> Text:
    if not check.passed:
        return Text("differs", "red")
    values = (check.published.value, check.measured.value)
    same = len({formatted(check.published, value) for value in values}) == 1
    return Text("same" if same else "close", "green")


def _publish(given: argparse.Namespace, console: Console) -> int:
    from solo_ldm.zoo.grouping import grouped

    folder = Path(given.zoo)
    check_place("--zoo", folder)
    for one in given.evaluation:
        check_path("--evaluation", one)
    several = "{" in given.name
    if several and (given.training_state or given.evaluation):
        raise ValueError(
            "--name: expected the name of one entry with --training-state or --evaluation, got "
            f"{given.name!r}; publish that entry alone"
        )
    entries = grouped(given.runs, given.name) if several else {given.name: given.runs}
    for name, runs in entries.items():
        _publish_one(name, runs, folder, given, console)
    own = "" if folder.resolve() == zoo.zoo_folder().resolve() else f"SOLO_LDM_ZOO={folder} "
    console.print(f"next: {own}solo-ldm zoo verify {' '.join(entries)}", highlight=False)
    return 0


def _publish_one(
    name: str, runs: Sequence[str | Path], folder: Path, given: argparse.Namespace, console: Console
) -> None:
    from solo_ldm.zoo.publishing import publish

    before = read_manifest(folder).get(name)
    with progress_bar(console, f"publishing {name}") as progress:
        entry = publish(
            runs,
            name,
            folder,
            licence=given.licence,
            dataset=given.dataset,
            urls=given.url,
            with_training_state=given.training_state,
            evaluations=given.evaluation,
            data=keys_of_data(given.data),
            progress=progress,
        )
    size = sum(one.size for one in entry.files)
    where = folder / "weights" / entry.name
    if before is not None and before.files != entry.files:
        console.print(f"zoo:{entry.name} of {before.date}, {scores_line(before)}, is replaced")
    console.print(
        Text.assemble(
            (f"zoo:{entry.name}", "bold"), f": {scores_line(entry)}; {size:,} bytes in {where}"
        ),
        soft_wrap=True,
    )
