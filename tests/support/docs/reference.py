"""The pages of every command and every key: of the commands' help, the schemas and their YAMLs."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin
from unittest import mock

from omegaconf import OmegaConf

from solo_ldm.cli import COMMANDS, main, usage
from solo_ldm.config.arguments import spelt
from solo_ldm.config.command import HydraCommand
from solo_ldm.config.given import declared, is_part, kinds_of
from solo_ldm.config.schema import aliases
from tests.support import ROOT

IMAGES, SERIES = ROOT / "solo_ldm" / "configs", ROOT / "predictive" / "configs"
_HEAD = "<!-- made by python -m tests.support.docs -->\n\n"
_NO_KEYS = ("defaults", "hydra", "published")
_LONGEST = 90


def sections() -> dict[str, Path]:
    """Return the file of the keys of each command that has one of its own."""
    found = {"pretrain": IMAGES / "host.yaml", "predictive": SERIES / "host.yaml"}
    for name in COMMANDS:
        files = (found.get(name), IMAGES / f"{name}.yaml", SERIES / f"{name}.yaml")
        path = next((one for one in files if one and one.is_file()), None)
        if path is not None and _command(name) is not None:
            found[name] = path
    return {name: found[name] for name in COMMANDS if name in found}


def pages() -> dict[Path, str]:
    """Return the generated pages by their places."""
    folder = ROOT / "docs" / "reference"
    return {folder / "commands.md": commands(), folder / "configuration.md": configuration()}


def commands() -> str:
    """Return the page of the commands: the overview, then the help of each."""
    parts = [_HEAD, "# Commands\n\n", _code(usage())]
    keys = usage().rpartition("WEIGHTS  ")  # what the help of every command ends with
    for name in COMMANDS:
        text = _help(name).replace("".join(keys[1:]), "")
        parts += [f"## {name}\n\n", _code(text)]
        if _command(name) is not None:
            section = "predictive" if name == "decode" else name
            parts.append(f"[Every key](configuration.md#{section}).\n\n")
            continue
        for one in re.findall(r"^    (\w+)  +\S", text, re.M):
            parts += [f"### {name} {one}\n\n", _code(_help(name, one))]
    return "".join(parts).rstrip() + "\n"


def configuration() -> str:
    """Return the page of the configuration: a table of keys for each command and part."""
    parts = [
        _HEAD,
        "# Configuration\n\n",
        "Every key, its default, what it takes and what it means, from the packaged YAMLs and "
        "their schemas. `KEY=VALUE` on the command line overrides one; "
        "`solo-ldm COMMAND --cfg job` prints all of a run. [How](../how-to/configure.md).\n\n",
    ]
    for name, path in sections().items():
        parts += [f"## {name}\n\n", _table(path, _schema(name))]
        if name == "pretrain":
            parts += _of_methods()
        if name == "predictive":
            for group in ("data", "predictor"):
                for one in sorted((SERIES / group).glob("*.yaml")):
                    parts += [f"### {group}={one.stem}\n\n", _table(one, prefix=f"{group}.")]
    return "".join(parts).rstrip() + "\n"


def _of_methods() -> list[str]:
    """Return the keys of methods: those of the grid, then what others have besides."""
    known = {*_rows(IMAGES / "host.yaml"), *_rows(IMAGES / "ldm.yaml")}
    parts = ["### Methods of the grid\n\n", _table(IMAGES / "ldm.yaml")]
    for path in sorted(IMAGES.glob("*.yaml")):
        rows = {key: row for key, row in _rows(path).items() if key.startswith("method_kwargs.")}
        own = {key: row for key, row in rows.items() if key not in known}
        if own:
            known |= {*own}
            parts += [f"### {path.stem}: further keys\n\n", _lines(own, {})]
    optimizers = sorted((IMAGES / "optimizer").glob("*.yaml"))
    parts.append("### optimizer=NAME\n\n")
    for one in optimizers:
        keys = OmegaConf.to_container(OmegaConf.load(one))
        parts.append(f"- `{one.stem}`: `{keys}`\n")
    return [*parts, "\n"]


def _help(name: str, *words: str) -> str:
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="100"),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main([name, *words, "--help"])
    return printed.getvalue()


def _code(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n\n"


def _command(name: str) -> HydraCommand | None:
    found = getattr(import_module(COMMANDS[name]), name, None)
    return found if isinstance(found, HydraCommand) else None


def _schema(name: str) -> type:
    command = _command(name)
    assert command is not None
    module, _, schema = command.schema.partition(":")
    return getattr(import_module(module), schema)


def _table(path: Path, schema: type | None = None, prefix: str = "") -> str:
    """Return the keys of a file, and those that only its schema has."""
    rows, takes = _rows(path, prefix), {}
    for key, _, hint, metadata in declared(None, schema, "") if schema else ():
        if is_part(hint, metadata) and is_dataclass(hint):
            continue
        takes[key] = _taken(hint, metadata)
        rows.setdefault(key, ("", ""))
    older = ", ".join(
        f"`{old}` is `{new}`" for old, new in (aliases(schema) if schema else {}).items()
    )
    return _lines(rows, takes) + (f"Also: {older}.\n\n" if older else "")


def _taken(hint: Any, metadata: Any) -> str:
    """Return what a key takes, in words."""
    kinds, accepts = kinds_of(hint), metadata.get("accepts", hint)
    if accepts is Any:
        return ""
    words = spelt(accepts).replace(" of typing.Any", "")
    if "accepts" in metadata and any(get_origin(one) is list for one in kinds):
        words = f"a list of: {words}"
    return words if "null" in words or type(None) not in kinds else f"{words} or null"


def _lines(rows: dict[str, tuple[str, str]], takes: dict[str, str]) -> str:
    """Return keys as a list, which fits every width."""
    lines = []
    for key, (default, comment) in rows.items():
        value = f" = `{default}`" if default else ""
        kind = f" · {takes[key]}" if takes.get(key) else ""
        what = re.sub(r"([*\[\]])", r"\\\1", comment).replace("<", "&lt;")
        lines.append(f"- **`{key}`**{value}{kind}{'<br>' if what else ''}{what}\n")
    return "".join([*lines, "\n"])


def _rows(path: Path, prefix: str = "") -> dict[str, tuple[str, str]]:
    """Return the keys of a YAML with their defaults and comments."""
    comments = _comments(path.read_text())
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    rows = {}
    for key, value in _leaves(content, ""):
        text = "" if value == "???" else _shown(value)
        rows[prefix + key] = (text, comments.get(key, ""))
    return rows


def _leaves(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if not prefix and key in _NO_KEYS:
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    """Return a value as YAML of one line, cut where it is long."""
    text = OmegaConf.to_yaml(OmegaConf.create([value])).removeprefix("- ").strip()
    if isinstance(value, list):
        text = f"[{', '.join(_shown(one) for one in value)}]"
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _comments(text: str) -> dict[str, str]:
    """Return the comment of each key: behind it, else above it."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    above: list[str] = []
    last = ""
    for line in text.splitlines():
        remark = re.fullmatch(r"\s*# ?(.*)", line)
        entry = re.match(r"( *)([\w.-]+):(?:\s|$)", line)
        if remark and remark[1].startswith("| ") and last and not above and found.get(last):
            found[last] += f" {remark[1]}"
        elif remark:
            above.append(remark[1])
        elif entry:
            depth = len(entry[1])
            parents = [one for one in parents if one[0] < depth]
            last = ".".join([*(name for _, name in parents), entry[2]])
            parents.append((depth, entry[2]))
            _, mark, behind = line.partition(" # ")
            words = [behind] if mark else []
            found[last], above = " ".join(words or above).strip(), []
        else:
            above = []
    return found
