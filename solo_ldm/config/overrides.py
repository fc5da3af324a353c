"""Arguments of a command as Hydra takes them: flags first, paths as they are meant."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_origin

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from solo_ldm.config.errors import leave
from solo_ldm.config.given import declared, is_part, kinds_of
from solo_ldm.config.places import PLACES
from solo_ldm.config.schema import aliases, open_keys
from solo_ldm.config.suggestions import suggestion

# Keys of paths, besides those that a schema declares to exist.
_PATHS = (
    *PLACES,
    "data.train_path",
    "data.val_path",
    "data.path",
    "pretrained_feature_extractor",
    "resume_from_checkpoint",
    "mixtures",
)

# Values that Hydra reads where a path may stand: null, what is missing, a text of its quotes.
_READ_BY_HYDRA = re.compile(r"(?i)null|\?\?\?|'.*'|\".*\"", re.DOTALL)
_SHARDS = (".tar", ".tar.gz", ".tgz", ".arrow", ".parquet")
_SWEEP = re.compile(r"(choice|shuffle|sort|glob|tag)\(.*\)", re.DOTALL)


@dataclass(frozen=True)
class Arguments:
    """What stands after the name of a command whose keys Hydra reads.

    Args:
        flags: the options and their values.
        overrides: the rest, in order.
        name: of the configuration.
        own: folder of the user's configurations.
        multirun: whether several values of a key are run one after another.
        shows: whether an option asks for something that needs no configuration.
    """

    flags: list[str]
    overrides: list[str]
    name: str | None
    own: Path | None
    multirun: bool
    shows: bool

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Arguments:
        """Tell flags from overrides, wherever they stand; an unknown flag ends the command."""
        parser = get_args_parser()
        parser.allow_abbrev = False
        parser.error = leave  # pyright: ignore[reportAttributeAccessIssue]
        given, unknown = parser.parse_known_intermixed_args(list(arguments))
        if unknown:
            options = [one for action in parser._actions for one in action.option_strings]
            near = suggestion(unknown[0].partition("=")[0], options)
            leave(f"unknown option {unknown[0]}{near or ': keys are given as KEY=VALUE'}")
        flags, rest = [], list(given.overrides)
        for argument in arguments:
            if rest and argument == rest[0]:
                rest.pop(0)
            else:
                flags.append(argument)
        own = given.config_path or given.config_dir
        folder = Path(own) if own and "://" not in own else None
        if folder is not None and not folder.is_dir():
            flag = "--config-path" if given.config_path else "--config-dir"
            what = "a file; name it by --config-name" if folder.is_file() else "nothing there"
            leave(f"{flag}: expected a folder of configurations, got {own}, {what}")
        shows = given.help or given.hydra_help or given.shell_completion
        name = given.config_name and re.sub(r"\.ya?ml$", "", given.config_name)
        return cls(flags, given.overrides, name, folder, given.multirun, bool(shows))


def for_hydra(
    given: Arguments, schema: type, positional: str | None = None, groups: Path | None = None
) -> list[str]:
    """Return overrides as Hydra takes them.

    Older names of keys are replaced by the present ones, paths quoted, and keys of the schema may
    be given (++) whether or not a YAML lists them: `complete` knows them, Hydra does not.

    Args:
        given: the arguments.
        schema: of the keys.
        positional: key that an argument which is no override gives.
        groups: folder of the packaged configurations, whose folders are named by KEY=NAME.

    Raises:
        ValueError: in one line: an argument that Hydra cannot read.
    """
    older, made = aliases(schema), []
    known = {key: is_part(hint, meta) for key, _, hint, meta in declared(None, schema, "")}
    _check_opened_patterns(given.overrides)
    open_parts = tuple(f"{key}." for key in open_keys(schema))
    for argument in given.overrides:
        key, separator, value = argument.partition("=")
        if positional and _is_path(argument, key, separator):
            key, separator, value, positional = positional, "=", _quoted(argument), None
        bare = key.lstrip("+")
        bare = older.get(bare, bare)
        chosen = known.get(bare) or any(
            one and (one / bare).is_dir() for one in (groups, given.own)
        )
        if bare.startswith(open_parts) or (bare in known and (not chosen or value[:1] == "{")):
            key = f"++{bare}"
        made.append(as_meant(f"{key}{separator}{value}", schema, argument, given.multirun))
    return made


def _check_opened_patterns(overrides: Sequence[str]) -> None:
    """Refuse several shards for one key, of which Hydra would take the last."""
    for key in ("data.train_path", "data.val_path"):
        given = [one.partition("=")[2] for one in overrides if one.startswith(f"{key}=")]
        if len(given) > 1 and all(one.endswith(_SHARDS) for one in given):
            raise ValueError(
                f"{key}: given {len(given)} times ({given[0]}, ...), as a shell opens braces and "
                f"stars; quote the pattern: '{key}=train-{{0000..0003}}.tar'"
            )


def as_meant(override: str, schema: type, shown: str | None = None, multirun: bool = False) -> str:
    """Return an override with Hydra's quotes around a path; refuse what Hydra cannot read.

    Args:
        override: KEY=VALUE.
        schema: of the keys.
        shown: what was given, for messages; the override itself by default.
        multirun: whether several values are run one after another.

    Raises:
        ValueError: in one line.
    """
    key, separator, value = override.partition("=")
    existing = [one.name for one in fields(schema) if "origins" in one.metadata]
    is_path = separator and key.lstrip("+") in (*_PATHS, *existing)
    if is_path and not _READ_BY_HYDRA.fullmatch(value):
        override = f"{key}={_path(key.lstrip('+'), value, multirun)}"
    _check(shown or override, override, multirun, _may_be_list(key.lstrip("+"), value, schema))
    return override


def with_packaged_groups(arguments: list[str], package: str) -> list[str]:
    """Make a --config-path absolute and let its YAMLs use the packaged groups.

    Hydra would take the path relative to the code rather than to where the user is.
    """
    arguments = list(arguments)
    for i, argument in enumerate(arguments):
        flag, separator, value = argument.partition("=")
        if flag not in ("--config-path", "-cp"):
            continue
        if separator:
            arguments[i] = f"{flag}={Path(value).resolve()}"
        elif i + 1 < len(arguments):
            arguments[i + 1] = str(Path(arguments[i + 1]).resolve())
        return [*arguments, f"hydra.searchpath=[pkg://{package}]"]
    return arguments


def _is_path(argument: str, key: str, separator: str) -> bool:
    """Whether an argument without a key is meant: x-ep=99.ckpt has a = as well."""
    if argument.startswith("~") and not argument.startswith("~/"):
        return False  # removes a key
    if not separator or os.path.lexists(argument):
        return True
    return not re.fullmatch(r"\+{0,2}[\w.@:]+|\+{0,2}hydra/[\w./@:]+", key)


def _path(key: str, value: str, multirun: bool) -> str:
    """Return the path, or the list of paths, that is meant, with Hydra's quotes."""
    if not value:
        raise ValueError(f"{key}: expected a path, got nothing; null takes the default")
    if not os.path.lexists(value):
        if value.startswith("[") and value.endswith("]") and key == "data.path":
            inside = value[1:-1]
            return value if re.search("['\"]", inside) else f"[{_each(inside)}]"
        if (multirun and re.search(r"['\"\[]", value)) or (multirun and _SWEEP.fullmatch(value)):
            return value
        if multirun:
            return _each(value)
    return _quoted(value)


def _each(value: str) -> str:
    return ",".join(_quoted(one.strip()) for one in value.split(","))


def _quoted(value: str) -> str:
    if value.startswith("~/") and not os.path.lexists(value):
        value = os.path.expanduser(value)  # a shell leaves it as it is after a =
    return QuotedString(value, Quote.single).with_quotes()


def _may_be_list(key: str, value: str, schema: type) -> bool:
    """Whether a list is meant: the schema says so, or leaves it open and the value looks so."""
    for name, _, hint, _ in declared(None, schema, ""):
        if name == key and not is_part(hint, {}):
            return any(get_origin(kind) is list for kind in kinds_of(hint))
    return value.startswith("[") and value.endswith("]")


def _check(argument: str, override: str, multirun: bool, is_list: bool) -> None:
    """Name the argument that Hydra cannot read, and how to quote it."""
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_override(override)
    except HydraException:
        parsed = None
    key, separator, value = argument.partition("=")
    if key and parsed is not None and (multirun or not parsed.is_sweep_override()):
        return
    quoted = f"{key}={_quoted(value)}"
    if not separator or not key:
        raise ValueError(f"{argument}: expected KEY=VALUE")
    try:
        parser.parse_override(quoted)
    except HydraException:
        raise ValueError(
            f"{argument}: expected KEY=VALUE, where KEY is of letters, digits, _ and dots"
        ) from None
    listed = _for_shell(f"{key}={_list_of(value)}")
    if parsed is not None:
        text = "" if is_list else f", {_for_shell(quoted)} a text"
        raise ValueError(
            f"{argument}: expected one value; --multirun runs one after another, "
            f"{listed} is a list{text}"
        )
    shown = f"each text of the list: {listed}" if is_list else f"it: {_for_shell(quoted)}"
    raise ValueError(f"{argument}: its value has signs of Hydra's; quote {shown}")


def _for_shell(argument: str) -> str:
    """Return an argument with quotes that bash takes away, and nothing else."""
    if re.search(r'["$\\!`]', argument):
        return "'" + argument.replace("'", "'\\''") + "'"
    return f'"{argument}"'


def _list_of(value: str) -> str:
    """Return the list that is meant, with Hydra's quotes around what needs them.

    A shell may have taken the quotes away. A comma then ends a text, but in templates, with {} in
    place of a name: each has it once.
    """
    inside = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    texts: list[str] = []
    for part in inside.split(","):
        if "{}" in inside and texts and not ("{}" in part and "{}" in texts[-1]):
            texts[-1] += f",{part}"
        else:
            texts.append(part)
    bare = (re.sub(r"""^\s*(["']?)(.*?)\1\s*$""", r"\2", one, flags=re.DOTALL) for one in texts)
    plain = re.compile(r"[\w.-]+")
    made = (
        one if plain.fullmatch(one) else QuotedString(one, Quote.double).with_quotes()
        for one in bare
    )
    return f"[{','.join(made)}]"
