"""zoo/README.md: the zoo as a table and a picture, made from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from solo_ldm.files import write_atomically
from solo_ldm.weights.published.entry import Entry, Result
from solo_ldm.weights.published.manifest import in_order
from solo_ldm.zoo.cards import compared, elsewhere, percent_or_number, protocol_label, spread
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
    """Write README.md and scores.png of a zoo.

    Args:
        folder: of the zoo.
        entries: of its manifest.
    """
    write_picture(folder / "scores.png", entries)
    text = table(entries)
    write_atomically(folder / "README.md", lambda temporary: temporary.write_text(text))


def table(entries: Mapping[str, Entry]) -> str:
    """Return the content of README.md."""
    rows = [
        "| name | what it is | data | network | trained | protocol | score | untrained "
        "| over seeds | published elsewhere |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in in_order(entries):
        for number, result in enumerate(entry.results):
            first = [
                f"[{entry.name}](weights/{entry.name}/README.md)",
                entry.headline,
                entry.dataset,
                entry.backbone,
                f"{entry.epochs} epochs, {entry.seconds:.0f} s, {entry.hardware}, {entry.date}",
            ]
            score = [
                protocol_label(result),
                percent_or_number(result, result.value),
                "–" if result.baseline is None else percent_or_number(result, result.baseline),
                spread(result),
                _reference(entry, result),
            ]
            rows.append(f"| {' | '.join([*(first if number == 0 else [''] * 5), *score])} |")
    notes = [
        f"- **{entry.name}**: {compared(entry)}."
        for entry in in_order(entries)
        if entry.reference is not None
    ]
    picture = "![Every score beside that of the untrained network](scores.png)\n"
    parts = [_INTRODUCTION, picture, "\n".join(rows) + "\n"]
    if notes:
        parts.append("What differs from the published figures:\n\n" + "\n".join(notes) + "\n")
    return "\n".join(parts)


def _reference(entry: Entry, result: Result) -> str:
    known = entry.reference_for(result.protocol)
    return "–" if known is None else elsewhere(result, known.value)
