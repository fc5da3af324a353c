"""Differences between the budgets of entries, and from the methods' published recipes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from solo_ldm.commands.compare.entries import Entry
from solo_ldm.commands.compare.schema import override_key

# What a comparison holds equal: the data path, the network, the budget and the scores.
BUDGET = (
    "data",
    "augmentations",
    "resolution",
    "backbone",
    "optimizer",
    "scheduler",
    "max_epochs",
    "accumulate_grad_batches",
    "precision",
    "sync_batchnorm",
    "trainer",
    "performance",
    "health",
    "evaluation.protocols",
)
# Keys of data that change its speed, not its content.
_NOT_BUDGET = ("data.device", "data.num_workers", "data.in_memory", "data.download")

# Keys that a choice of data sets as well.
_IMPLIED = {"data": ("data", "augmentations", "backbone")}

# More differing keys of a part than this are counted rather than listed.
_MOST_LISTED = 4

_ABSENT = "not set"


def budget_differences(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the differences in the parts that must be equal, as `find_differences`."""
    budgets = {entry.label: budget_of(OmegaConf.to_container(entry.cfg)) for entry in entries}
    own = {e.label: [override_key(override) for override in e.spec.overrides] for e in entries}
    return find_differences(budgets, own)


def find_differences(
    budgets: Mapping[str, Mapping[str, Any]], overridden: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Find the entries that differ from most others.

    >>> find_differences({"a": {"lr": 0.1}, "b": {"lr": 3}, "c": {"lr": 3}}, {"a": ["lr"]})
    {'a': 'lr 3 → 0.1 (by its own overrides)'}

    Args:
        budgets: flat budgets by label; see `budget_of`. The value of most entries, or the first of
            those equally common, is the budget.
        overridden: the keys of each entry's own overrides, groups (data) or dotted (data.fraction).

    Returns:
        A line for each entry that differs, by label; many keys of one part are counted.
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    for key in dict.fromkeys(key for budget in budgets.values() for key in budget):
        values = {label: budget.get(key, _ABSENT) for label, budget in budgets.items()}
        most = Counter(map(repr, values.values())).most_common(1)[0][0]
        usual = next(value for value in values.values() if repr(value) == most)
        for label, value in values.items():
            if value != usual:
                own = [p for one in overridden.get(label, ()) for p in _IMPLIED.get(one, (one,))]
                source = "by its own overrides" if _covered(key, own) else "by its configuration"
                changes = found.setdefault(label, {}).setdefault(source, {})
                changes[key] = _change(key, usual, value)
    return {
        label: "; ".join(
            f"{'; '.join(_shortened(by_source[source]))} ({source})"
            for source in sorted(by_source, reverse=True)
        )
        for label, by_source in found.items()
    }


def _shortened(changes: Mapping[str, str]) -> list[str]:
    """Return changes, those of a part with many of them as their number."""
    sizes = Counter(key.partition(".")[0] for key in changes)
    lines: dict[str, None] = {}
    for key, change in changes.items():
        part = key.partition(".")[0]
        few = sizes[part] <= _MOST_LISTED
        lines[change if few else f"{part} ({sizes[part]} keys)"] = None
    return list(lines)


def budget_of(cfg: Any) -> dict[str, Any]:
    """Return the parts of a configuration that a comparison holds equal, flat.

    >>> budget_of({"max_epochs": 2, "data": {"dataset": "digits", "num_workers": 2}, "seed": 1})
    {'data.dataset': 'digits', 'max_epochs': 2}
    """
    flat = flatten(cfg)
    return {
        key: flat[key]
        for part in BUDGET
        for key in flat
        if _covered(key, [part]) and key not in _NOT_BUDGET
    }


def published_line(cfg: Any, settings: Mapping[str, Any]) -> str | None:
    """Return the differences from a method's published recipe in a line.

    Args:
        cfg: a completed configuration as a mapping; its `published` maps dotted keys to published
            values, and names the source.
        settings: the method's completed method_kwargs, which precede those of the configuration.

    Returns:
        "key published → here; …", the source and the note; None without a published recipe.
    """
    recipe = dict(cfg.get("published") or {})
    source, note = recipe.pop("source", None), recipe.pop("note", None)
    if not recipe and not source and not note:
        return None
    here = flatten(cfg) | {f"method_kwargs.{key}": value for key, value in settings.items()}
    changes = [
        _change(key, value, here.get(key, _ABSENT))
        for key, value in flatten(recipe).items()
        if not _same(value, here.get(key, _ABSENT))
    ]
    line = "; ".join(changes) or "no difference in what its configuration lists"
    if not recipe:
        line = "its configuration lists no values"
    line += f" ({source})" if source else ""
    return f"{line}. Note: {note}" if note else line


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a tree of mappings and lists of mappings as {dotted key: value}.

    >>> flatten({"a": {"b": 1}, "views": [{"size": 16}], "k": [1, 2], "optimizer.lr": 3})
    {'a.b': 1, 'views.0.size': 16, 'k': [1, 2], 'optimizer.lr': 3}
    """
    if isinstance(node, (list, tuple)) and any(isinstance(one, Mapping) for one in node):
        node = dict(enumerate(node))
    if not isinstance(node, Mapping):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _covered(key: str, parts: Iterable[str]) -> bool:
    """Whether a dotted key is one of some parts or lies in one."""
    return any(key == part or key.startswith(f"{part}.") for part in parts)


def _same(published: Any, own: Any) -> bool:
    """Whether two values are equal, however they are written: 1e-4 and 0.0001."""
    try:
        return math.isclose(float(published), float(own), rel_tol=1e-9, abs_tol=0.0)
    except (TypeError, ValueError):
        return str(published) == str(own)


def _change(key: str, old: Any, new: Any) -> str:
    return f"{key} {_text(old)} → {_text(new)}"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
