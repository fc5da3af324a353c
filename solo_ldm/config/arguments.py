"""Configuration keys that are arguments of a function: names, types and bounds."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from solo_ldm.config.suggestions import suggestion

_F = TypeVar("_F", bound=Callable[..., Any])

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "null",
}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


# Beyond these magnitudes a number cannot be meant: it is a slip, or stands for none or infinity.
SMALLEST, LARGEST = 1e-20, 1e9


@dataclass(frozen=True)
class Bounds:
    """What the numbers of an argument must satisfy: Annotated[int, Bounds(1)].

    They are finite in any case and, unless they are zero, of a magnitude from 1e-20 to below
    `limit`.

    Args:
        low: smallest.
        high: largest.
        above: all are greater than this.
        below: all are less than this.
        also: a number outside the bounds that is accepted besides.
        limit: from here on a number cannot be meant; of no effect where `high` is given.
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    also: float | None = None
    limit: float = LARGEST

    def __contains__(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        if value == self.also:
            return True
        within = self.low <= value <= self.high and self.above < value < self.below
        return within and (value == 0 or abs(value) >= SMALLEST) and not self.too_large(value)

    def too_large(self, value: float) -> bool:
        """Whether a number is larger than any that can be meant."""
        return math.isinf(self.high) and not abs(value) < self.limit

    def spelt(self, value: Any = None) -> str:
        """The bounds in words, to follow "a number"; with the limits that a value is beyond."""
        low = f"from {self.low:g}" if self.low > self.above else f"above {self.above:g}"
        parts = [low] if math.isfinite(max(self.low, self.above)) else []
        high = self.below
        if isinstance(value, (int, float)):
            if 0 < abs(value) < SMALLEST:
                parts = [f"from {SMALLEST:g}"]
            if value > 0 and self.too_large(value):
                high = min(high, self.limit)
        if math.isfinite(self.high):
            parts.append(f"to {self.high:g}")
        elif math.isfinite(high):
            parts.append(f"and below {high:.10g}" if parts else f"below {high:.10g}")
        if self.also is not None:
            parts.append(f"or {self.also:g}")
        return " ".join(parts)


Count = Annotated[int, Bounds(1)]
Width = Annotated[int, Bounds(1, limit=2**20)]  # of a network: units of a layer, dimensions
Depth = Annotated[int, Bounds(1, limit=1000)]  # of a network: its layers
Seed = Annotated[int, Bounds(0, limit=2**32)]
Positive = Annotated[float, Bounds(above=0)]
NonNegative = Annotated[float, Bounds(0)]
Rate = Annotated[float, Bounds(0, limit=10_000)]  # of learning, and factors of it
Share = Annotated[float, Bounds(0, 1)]


def checked(function: _F) -> _F:
    """Check the arguments of each call of a function, or of a class's __init__, before it.

    Types and `Bounds` are those of the annotations; the errors are those of `check_arguments`, with
    the names of the arguments as keys.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        hints = _hints(function)
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            check_value(name, value, hints.get(name, Any))
        return function(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]


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
        besides: arguments that the caller fills in and a user may not.

    Raises:
        ValueError: an unknown or missing key, a value of another type or out of its bounds.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in (*besides, "self")
    }
    hints = hints_of(target)
    check_keys(prefix, given, parameters)
    for name, value in given.items():
        check_value(f"{prefix}.{name}", value, hints.get(name, Any))
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in given:
            raise ValueError(f"missing key {prefix}.{name}: set it in the YAML or the command line")


def check_keys(prefix: str, given: Iterable[Any], known: Iterable[str]) -> None:
    """Raise a one-line ValueError unless all keys given are known.

    Args:
        prefix: the key of the mapping that holds them, for messages.
        given: the keys.
        known: all that there are; up to twenty of them are listed.
    """
    known = list(known)
    for name in given:
        if name not in known:
            takes = f": {prefix} takes {', '.join(known) or 'none'}" if len(known) <= 20 else ""
            raise ValueError(f"unknown key {prefix}.{name}{suggestion(str(name), known)}{takes}")


def check_value(key: str, value: Any, hint: Any) -> None:
    """Raise a one-line ValueError unless a value is of a type: int, Annotated[int, Bounds(1)], …

    Args:
        key: of the value, for messages.
        value: what was given.
        hint: the type; Literal for one of some names.
    """
    if not _fits(value, hint):
        names = [str(one) for one in get_args(hint)] if get_origin(hint) is Literal else []
        near = suggestion(value, names) if isinstance(value, str) else ""
        raise ValueError(f"{key}: expected {spelt(hint, value)}, got {shortened(value)}{near}")


def check_templates(key: str, templates: Sequence[str]) -> None:
    """Raise a one-line ValueError unless there are texts with {} once, for the name of a class."""
    example = f'\'{key}=["a photo of a {{}}","{{}}"]\''
    wrong = [one for one in templates if not isinstance(one, str) or not _is_template(one)]
    if wrong or not templates:
        raise ValueError(
            f"{key}: expected templates with {{}} in place of the name of a class, got "
            f"{shortened(wrong[0]) if wrong else 'none'}; such as {example}"
        )


def shortened(value: Any) -> str:
    """Return a value as code, without the middle of what is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:150]} … {text[-40:]}"


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the arguments of a function or class, with their bounds."""
    return _hints(target.__init__ if inspect.isclass(target) else target)


def shown(built: Any) -> str:
    """Return "name=value, …" of an object's constructor arguments, for `extra_repr`.

    Args:
        built: an object that keeps each argument as an attribute of its name.
    """
    names = inspect.signature(type(built)).parameters
    return ", ".join(f"{name}={getattr(built, name)!r}" for name in names)


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function, include_extras=True)


def _fits(value: Any, hint: Any, bounded: bool = False) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [one for one in arguments[1:] if isinstance(one, Bounds)]
        return _fits(value, arguments[0], bool(bounds)) and (
            not bounds or value is None or value in bounds[0]
        )
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and all(_fits(one, arguments[0]) for one in value)
            and len(value) == (_length(hint) or len(value))
        )
    if hint in (int, float):
        kind = Integral if hint is int else Real
        if not isinstance(value, kind) or isinstance(value, bool):
            return False
        return bounded or hint is int or math.isfinite(value)
    if hint is not Any and inspect.isclass(origin or hint):
        return isinstance(value, origin or hint)
    return True


def _is_template(text: str) -> bool:
    """Whether a text has {} once, and is no list of texts in quotes of its own."""
    return text.count("{}") == text.count("{") == text.count("}") == 1 and not (
        text.startswith("[") and text.endswith("]")
    )


def _length(hint: Any) -> int | None:
    """Return how many entries a list of a type has, None for any number of them."""
    entries = get_args(hint) if get_origin(hint) is tuple else (...,)
    return None if ... in entries else len(entries)


def spelt(hint: Any, value: Any = None) -> str:
    """Return a type in words; with the limits that a value is beyond."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [one.spelt(value) for one in arguments[1:] if isinstance(one, Bounds)]
        return " ".join([spelt(arguments[0]), *bounds]).strip()
    if origin in (Union, types.UnionType):
        return " or ".join(spelt(argument, value) for argument in arguments)
    if origin is Literal:
        return _listed([str(argument) for argument in arguments])
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        one, count = arguments[0], f"{_length(hint)} " if _length(hint) else ""
        if get_origin(one) is Annotated:
            inner, bounds = get_args(one)[:2]
            return f"a list of {count}{_PLURALS[inner]} {bounds.spelt()}"
        return f"a list of {count}{_PLURALS.get(one, spelt(one))}"
    if is_dataclass(hint) or (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return "a mapping"
    return _WORDS.get(hint, str(hint))


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
