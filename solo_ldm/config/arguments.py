"""Configuration keys that are arguments of a function: names and types, checked before a call."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from solo_ldm.config.suggestions import suggestion


def check_arguments(
    prefix: str,
    given: Mapping[str, Any],
    target: Callable[..., Any],
    besides: Sequence[str] = (),
) -> None:
    """Raise a one-line ValueError unless keys of the configuration fit the target's arguments.

    Args:
        prefix: the mapping's key, for messages.
        given: the mapping.
        target: a function or class.
        besides: arguments that the host fills in and a user may not.

    Raises:
        ValueError: an unknown or missing key, or a value of another type.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in (*besides, "self")
    }
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    for name, value in given.items():
        if name not in parameters:
            raise ValueError(
                f"unknown key {prefix}.{name}{suggestion(str(name), list(parameters))}: "
                f"{prefix} takes {', '.join(parameters)}"
            )
        if not _fits(value, hints.get(name, object)):
            raise ValueError(f"{prefix}.{name} expects {_spelt(hints[name])}, got {value!r}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in given:
            raise ValueError(f"missing key {prefix}.{name}: set it in the YAML or the command line")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        # The target says what it takes, in its own words.
        return isinstance(value, str)
    if origin is not None and issubclass(origin, Sequence):
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and all(_fits(one, arguments[0]) for one in value)
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is not Any and isinstance(hint, type):
        return isinstance(value, hint)
    return True


def _spelt(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_spelt(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin is not None:
        plural = {int: "whole numbers", float: "numbers", str: "texts"}
        return f"a list of {plural.get(arguments[0], _spelt(arguments[0]))}"
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        Path: "a path",
    }
    return names.get(hint, "null" if hint is type(None) else str(hint))
