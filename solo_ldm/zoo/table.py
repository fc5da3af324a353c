"""zoo/README.md: the zoo as a table, made from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from solo_ldm.files import write_atomically
from solo_ldm.zoo.cards import METRICS, compared, percent_or_number, spread
from solo_ldm.zoo.manifest import Entry, Result

_INTRODUCTION = """\
# The zoo

Pretrained models, each with its scores, how it was made and a command that measures it again. Made
from [manifest.yaml](manifest.yaml) by `solo-ldm zoo publish`; no number was typed.

    solo-ldm zoo list
    solo-ldm zoo show NAME
    solo-ldm zoo verify [NAME ...]

In Python, `solo_ldm.zoo.load(NAME)` is the model with its preprocessing. Commands that take weights
take `zoo:NAME`. Each folder of [weights](weights) is a model repository as the Hugging Face hub
expects it. Scores are those of the published weights; "over seeds" is the mean and the standard
deviation of runs that differ in the seed alone, of which the first was published.
"""


def write_table(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write README.md of a zoo.

    Args:
        folder: of the zoo.
        entries: of its manifest.
    """
    text = table(entries)
    write_atomically(folder / "README.md", lambda temporary: temporary.write_text(text))


def table(entries: Mapping[str, Entry]) -> str:
    """Return the content of README.md."""
    rows = [
        "| name | what it is | data | network | trained | protocol | score | untrained "
        "| over seeds | published elsewhere |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in sorted(entries.items()):
        for number, result in enumerate(entry.results):
            first = [
                f"[{name}](weights/{name}/README.md)",
                entry.headline,
                entry.dataset,
                entry.backbone,
                f"{entry.epochs} epochs, {entry.seconds:.0f} s, {entry.hardware}, {entry.date}",
            ]
            score = [
                f"{result.protocol}, {METRICS[result.metric]}",
                percent_or_number(result, result.value),
                "–" if result.baseline is None else percent_or_number(result, result.baseline),
                spread(result),
                _reference(entry, result),
            ]
            rows.append(f"| {' | '.join([*(first if number == 0 else [''] * 5), *score])} |")
    notes = [
        f"- **{name}**: {compared(entry)}."
        for name, entry in sorted(entries.items())
        if entry.reference is not None
    ]
    parts = [_INTRODUCTION, "\n".join(rows) + "\n"]
    if notes:
        parts.append("What differs from the published figures:\n\n" + "\n".join(notes) + "\n")
    return "\n".join(parts)


def _reference(entry: Entry, result: Result) -> str:
    known = entry.reference_for(result.protocol)
    return "–" if known is None else percent_or_number(result, known.value)
