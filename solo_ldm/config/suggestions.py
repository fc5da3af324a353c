"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib

# What keys are called by other packages and papers.
_ELSEWHERE = {
    "learning_rate": "lr",
    "mask_ratio": "mask_share",
    "temperature": "prediction_precision",  # its inverse
}


def suggestion(name: str, names: list[str]) -> str:
    """Return ': did you mean …?' when a known name means the same or is near, else nothing."""
    same = [one for one in (_ELSEWHERE.get(name),) if one in names]
    near = same or difflib.get_close_matches(name, names, n=1)
    return f": did you mean {near[0]}?" if near else ""
