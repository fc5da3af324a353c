"""Values that a Python program holds, as YAML has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plain(key: str, value: Any) -> Any:
    """Return a value as YAML has it.

    Args:
        key: of the configuration, for messages.
        value: text, a number, None, a path; an array or a tensor of them, a list or a mapping.

    Raises:
        ValueError: in one line: it is none of these.
    """
    if hasattr(value, "tolist"):  # of NumPy, torch or pandas
        return plain(key, value.tolist())
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(f"{key}.{name}", one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(f"{key}[{index}]", one) for index, one in enumerate(value)]
    remedy = "give its name"
    if hasattr(value, "state_dict"):
        remedy = f'a network is given by its name, {key}={{"name": "resnet18"}}'
    raise ValueError(
        f"{key}: expected text, a number, a list or a mapping, got {type(value).__name__}; {remedy}"
    )
