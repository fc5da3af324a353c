"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib


def suggestion(name: str, names: list[str]) -> str:
    """Return ': did you mean …?' when a known name is near, else nothing."""
    near = difflib.get_close_matches(name, names, n=1)
    return f": did you mean {near[0]}?" if near else ""
