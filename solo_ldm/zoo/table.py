"""zoo/README.md: the zoo as a table and a picture, made from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from solo_ldm.files import write_text
from solo_ldm.weights.published.entry import Entry
from solo_ldm.zoo.cards import cells, compared, formatted
from solo_ldm.zoo.picture import write_picture

_INTRODUCTION = """\
# The zoo

Pretrained models, each with its scores, how it was made and a command that measures it again. Made
from [manifest.yaml](manifest.yaml) by `solo-ldm zoo publish`; no number of ours was typed.

    solo-ldm zoo list
    solo-ldm zoo show NAME
    solo-ldm zoo verify [NAME ...]

In Python, `solo_ldm.zoo.load(NAME)` is the model with its preprocessing. Commands that take weights
take `zoo:NAME`. Each folder of [weights](weights) is a model repository as the Hugging Face hub
expects it. Scores are those of the published weights; "over seeds" is the mean and the standard
deviation of runs that differ in the seed alone, of which the first was published.
"""


def write_table(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write README.md and scores.png of a zoo, made of the entries of its manifest."""
    write_picture(folder / "scores.png", entries)
    write_text(folder / "README.md", table(entries))


def table(entries: Mapping[str, Entry]) -> str:
    """Return the content of README.md."""
    rows = [
        "| name | what it is | data | network | trained | protocol | score | untrained "
        "| over seeds | published elsewhere |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries.values():
        for number, result in enumerate(entry.results):
            known = entry.reference_for(result.protocol)
            first = [
                f"[{entry.name}](weights/{entry.name}/README.md)",
                entry.headline,
                entry.dataset,
                entry.backbone,
                f"{entry.epochs} epochs, {entry.seconds:.0f} s, {entry.hardware}, {entry.date}",
            ]
            row = [*(first if number == 0 else [""] * 5), *cells(result)]
            row.append(formatted(result, known.value, 3) if known else "–")
            rows.append(f"| {' | '.join(row)} |")
    notes = [
        f"- **{entry.name}**: {compared(entry)}."
        for entry in entries.values()
        if entry.reference is not None
    ]
    picture = "![Every score beside that of the untrained network](scores.png)\n"
    parts = [_INTRODUCTION, picture, "\n".join(rows) + "\n"]
    if notes:
        parts.append("What differs from the published figures:\n\n" + "\n".join(notes) + "\n")
    return "\n".join(parts)
