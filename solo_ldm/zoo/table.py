"""zoo/README.md: the zoo as a table and a picture, made from the manifest alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from solo_ldm.files import write_text
from solo_ldm.weights.published.entry import Entry, Result
from solo_ldm.zoo.cards import compared, formatted, protocol_label, spread
from solo_ldm.zoo.picture import write_picture

_INTRODUCTION = """\
# The zoo

Pretrained models, each with its scores, how it was made and a command that measures it again. Made
from [manifest.yaml](manifest.yaml) by `solo-ldm zoo publish`; no number of ours was typed.

    solo-ldm zoo list
    solo-ldm zoo show NAME
    solo-ldm zoo verify [NAME ...] [--data FOLDER]

In Python, `solo_ldm.zoo.load(NAME)` is the model with its preprocessing. Commands that take weights
take `zoo:NAME`. Each folder of `weights` is a model repository as the Hugging Face hub
expects it. Scores are those of the published weights, in bold; "untrained" is the same network
before training, "over seeds" the mean and the standard deviation of runs that differ in the seed
alone, of which the first was published, "elsewhere" what others published.
"""


def write_table(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write README.md and scores.png of a zoo, made of the entries of its manifest."""
    write_picture(folder / "scores.png", entries)
    write_text(folder / "README.md", table(entries))


def table(entries: Mapping[str, Entry]) -> str:
    """Return the content of README.md: a table for each data set of images and one for time series.

    A column is of a protocol. The entries are in the order of the manifest.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries.values():
        title = "Time series" if entry.image_size is None else f"Images: {entry.dataset}"
        groups.setdefault(title, []).append(entry)
    picture = "![Every score beside that of the untrained network](scores.png)\n"
    parts = [_INTRODUCTION, picture]
    for title, group in groups.items():
        parts += [f"## {title}\n", "\n".join(_rows(group)) + "\n"]
    notes = [
        f"- **{entry.name}**: {compared(entry)}."
        for entry in entries.values()
        if entry.reference is not None
    ]
    if notes:
        parts.append("What differs from the published figures:\n\n" + "\n".join(notes) + "\n")
    return "\n".join(parts)


def _rows(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the rows of a table of entries."""
    labels = dict.fromkeys(protocol_label(one) for entry in entries for one in entry.results)
    yield f"| name | what it is | data | network | trained | {' | '.join(labels)} |"
    yield "|---" * (5 + len(labels)) + "|"
    for entry in entries:
        scores = {protocol_label(one): _cell(entry, one) for one in entry.results}
        row = [
            f"[{entry.name}](weights/{entry.name}/README.md)",
            entry.headline,
            entry.dataset,
            entry.backbone,
            f"{entry.epochs} epochs, {entry.seconds:.0f} s, {entry.hardware}, {entry.date}",
            *(scores.get(label, "–") for label in labels),
        ]
        yield f"| {' | '.join(row)} |"


def _cell(entry: Entry, result: Result) -> str:
    """Return a score with what it is to be compared with."""
    known = entry.reference_for(result.protocol)
    beside = {
        "untrained": result.baseline is not None and formatted(result, result.baseline),
        "over seeds": result.std is not None and spread(result),
        "elsewhere": known is not None and formatted(result, known.value, 3),
    }
    return ", ".join(
        [f"**{formatted(result, result.value)}**", *(f"{k} {v}" for k, v in beside.items() if v)]
    )
