"""A card for each model, in the form of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from solo_ldm.files import write_text
from solo_ldm.weights.published.entry import Entry, Result
from solo_ldm.zoo.kinds import usage

METRICS = {"top1": "top-1 accuracy", "r2": "R²"}


def write_card(path: Path, entry: Entry, library: str) -> None:
    """Write README.md of an entry: front matter for the hub, then text for people.

    The hub is told the library that loads the model.
    """
    front = OmegaConf.to_yaml(OmegaConf.create(_front_matter(entry, library)))
    write_text(path, f"---\n{front}---\n\n{_body(entry)}")


def formatted(result: Result, value: float | None, digits: int = 4) -> str:
    """Return an accuracy in percent, any other score as a number of some digits, – for none."""
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if result.metric == "top1" else f"{value:.{digits}f}"


def scores_line(entry: Entry) -> str:
    """Return every score of an entry in one line."""
    return ", ".join(f"{one.protocol} {formatted(one, one.value)}" for one in entry.results)


def cells(result: Result) -> list[str]:
    """Return protocol, score, score of the untrained network and spread, as a table shows them."""
    value, baseline = formatted(result, result.value), formatted(result, result.baseline)
    return [protocol_label(result), value, baseline, spread(result)]


def protocol_label(result: Result) -> str:
    """Return a protocol with its metric."""
    metric = METRICS[result.metric]
    return result.protocol if metric in result.protocol else f"{result.protocol}, {metric}"


def tolerance(result: Result) -> str:
    """Return the tolerance of verifying, or that the score is not measured again."""
    return formatted(result, result.tolerance).replace("–", "recorded with the run")


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
    # The hub refuses names that none of its data sets can have.
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
        f"| {' | '.join(cells(one))} | {one.num_samples} | {tolerance(one)} |"
        for one in entry.results
    ]
    offline = ""
    if any(one.protocol == "linear-offline" for one in entry.results):
        linear = f"solo-ldm linear pretrained_feature_extractor=zoo:{entry.name}"
        offline = f", `{linear}` trains the classifier of linear-offline"
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
        *([] if entry.scored_on is None else [f"Scores are on {entry.scored_on}.\n"]),
        *([] if entry.reference is None else [f"Published elsewhere: {compared(entry)}.\n"]),
        f"`solo-ldm zoo verify {entry.name}` measures again what has a tolerance{offline}.\n",
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


def compared(entry: Entry) -> str:
    """Return the score that others published, its source, and how their setting differs."""
    known = entry.reference
    if known is None:
        return "nothing"
    (own,) = [one for one in entry.results if one.protocol == known.protocol]
    return (
        f"{known.protocol} {formatted(own, known.value, 3)}, here "
        f"{formatted(own, own.value)} ({known.source}). What differs: {known.differs}"
    )
