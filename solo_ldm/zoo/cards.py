"""A card for each model, in the form of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from solo_ldm.files import write_atomically
from solo_ldm.weights.published.entry import Entry, Result
from solo_ldm.zoo.kinds import usage

METRICS = {"top1": "top-1 accuracy", "r2": "R²"}


def write_card(path: Path, entry: Entry, library: str) -> None:
    """Write README.md of an entry: front matter for the hub, then text for people.

    Args:
        path: of the file.
        entry: of the manifest.
        library: that loads it, for the hub.
    """
    text = f"---\n{OmegaConf.to_yaml(OmegaConf.create(_front_matter(entry, library)))}---\n\n"
    text += _body(entry)
    write_atomically(path, lambda temporary: temporary.write_text(text))


def percent_or_number(result: Result, value: float) -> str:
    """Return an accuracy in percent, any other score as a number."""
    return f"{100 * value:.2f} %" if result.metric == "top1" else f"{value:.4f}"


def scores_line(entry: Entry) -> str:
    """Return every score of an entry in one line."""
    return ", ".join(f"{one.protocol} {percent_or_number(one, one.value)}" for one in entry.results)


def elsewhere(result: Result, value: float) -> str:
    """Return a figure of others, with as many digits as such are given with."""
    return f"{100 * value:.2f} %" if result.metric == "top1" else f"{value:.3f}"


def protocol_label(result: Result) -> str:
    """Return a protocol and what it measures."""
    metric = METRICS[result.metric]
    return result.protocol if metric in result.protocol else f"{result.protocol}, {metric}"


def tolerance(result: Result) -> str:
    """Return what verifying allows, or that the score is not measured again."""
    if result.tolerance is None:
        return "recorded with the run"
    return percent_or_number(result, result.tolerance)


def spread(result: Result) -> str:
    """Return mean ± standard deviation over runs, or a dash for one run."""
    if result.std is None:
        return "–"
    scale, unit = (100.0, " %") if result.metric == "top1" else (1.0, "")
    digits = 2 if result.metric == "top1" else 4
    return (
        f"{scale * result.mean:.{digits}f} ± {scale * result.std:.{digits}f}{unit} "
        f"({result.num_runs} runs)"
    )


def _front_matter(entry: Entry, library: str) -> dict[str, Any]:
    # The hub refuses what cannot be the name of a data set of its own.
    known = {"datasets": [entry.dataset]} if re.fullmatch(r"[\w.-]+", entry.dataset) else {}
    return {
        "license": "mit",
        "library_name": library,
        "tags": ["self-supervised-learning", "latent-distribution-matching", entry.method],
        **known,
        "model-index": [
            {
                "name": entry.name,
                "results": [
                    {
                        "task": {"type": "feature-extraction"},
                        "dataset": {
                            "name": entry.dataset,
                            "type": re.sub(r"[^\w.-]+", "-", entry.dataset),
                        },
                        "metrics": [
                            {
                                "name": protocol_label(one),
                                "type": "accuracy" if one.metric == "top1" else one.metric,
                                "value": one.value,
                                "verified": False,
                            }
                            for one in entry.results
                        ],
                    }
                ],
            }
        ],
    }


def _body(entry: Entry) -> str:
    rows = [
        f"| {protocol_label(one)} | {percent_or_number(one, one.value)} | "
        f"{'–' if one.baseline is None else percent_or_number(one, one.baseline)} | "
        f"{spread(one)} | {one.num_samples} | {tolerance(one)} |"
        for one in entry.results
    ]
    files = [f"| `{one.name}` | {one.size:,} | `{one.sha256}` |" for one in entry.files]
    parts = [
        f"# {entry.name}\n",
        f"{entry.backbone} trained by `{entry.method}` on {entry.dataset}: {entry.headline}. A "
        "model of the zoo of solo_ldm, self-supervised learning as latent distribution matching "
        "(Mikulasch & Zenke, arXiv 2605.03517).\n",
        f"```python\n{usage(entry.kind, entry.name)}```\n",
        "## How good it is\n",
        "| protocol | these weights | untrained | over seeds | test samples | tolerance |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n",
        *([] if entry.reference is None else [f"Published elsewhere: {compared(entry)}.\n"]),
        f"`solo-ldm zoo verify {entry.name}` measures again what has a tolerance"
        f"{_offline(entry)}.\n",
        *(
            f"![What its training run looked like]({one.name})\n"
            for one in entry.files
            if one.name.endswith(".png")
        ),
        "## How it was made\n",
        f"    {entry.command}\n",
        f"{entry.epochs} epochs, batch {entry.batch_size}, seed {entry.seed}, "
        f"{entry.seconds:.0f} s of training on {entry.hardware}, torch "
        f"{entry.versions.get('torch', '?')}, solo_ldm {entry.versions.get('solo_ldm', '?')} at "
        f"commit {entry.commit or 'unknown'}, {entry.date}.\n",
        f"Data: {entry.dataset}; licence: {entry.licence}; SHA-256 of its contents "
        f"`{entry.dataset_sha256}`.\n",
        "| file | bytes | SHA-256 |\n|---|---|---|\n" + "\n".join(files) + "\n",
    ]
    return "\n".join(parts)


def _offline(entry: Entry) -> str:
    if not any(one.protocol == "linear-offline" for one in entry.results):
        return ""
    return (
        f", `solo-ldm linear pretrained_feature_extractor=zoo:{entry.name}` trains the classifier "
        "of linear-offline"
    )


def compared(entry: Entry) -> str:
    """Return the published figure of an entry, its source, and what is different."""
    known = entry.reference
    if known is None:
        return "nothing"
    (own,) = [one for one in entry.results if one.protocol == known.protocol]
    return (
        f"{known.protocol} {elsewhere(own, known.value)}, here "
        f"{percent_or_number(own, own.value)} ({known.source}). What differs: {known.differs}"
    )
