"""What is wrong with the YAMLs of a user's own configurations, said with file and line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solo_ldm.config.suggestions import suggestion


@dataclass(frozen=True)
class Own:
    """The configurations of a user.

    Args:
        folder: that holds them; None for packaged ones alone.
        name: of the configuration that was asked for.
        packaged: folder of those that may be built on.
    """

    folder: Path | None
    name: str | None
    packaged: Path

    def explained(self, error: BaseException) -> str | None:
        """Return the line of an error in composing a configuration; None for any other error."""
        from hydra.errors import HydraException, MissingConfigException
        from yaml import YAMLError

        if isinstance(error, YAMLError):
            return _of_yaml(error)
        if isinstance(error, UnicodeDecodeError):
            return self._undecodable()
        if isinstance(error, RecursionError):
            return self._circle()
        if isinstance(error, MissingConfigException):
            return self._missing(error)
        text = str(error)
        if isinstance(error, AssertionError) and text.startswith("Unexpected type for root"):
            return "a key is set below one that holds no keys, or null; set that key as a whole"
        if isinstance(error, ValueError):
            key = re.match(r"([\w.]+)=\$\{", text)
            if re.match("Unsupported type in defaults|Invalid defaults list", text):
                return f"{self.folder}/{self.name}.yaml: {text}"
            return key and self._place(key.group(1)) + text
        return (
            self._of_hydra(text, str(error.__cause__))
            if isinstance(error, HydraException)
            else None
        )

    def _of_hydra(self, text: str, cause: str) -> str | None:
        twice = re.match(r"Multiple values for (\S+)\.|(\S+) appears more than once", text)
        if twice:
            group = twice.group(1) or twice.group(2)
            return (
                f"{self._place(group)}{group} is chosen twice, once by a configuration that is "
                f"built on or by data; write override {group}: NAME in defaults, or {group}=NAME "
                "without + on the command line"
            )
        if text.startswith("Could not override"):
            return None
        if not text:  # an interpolation that cannot be read
            key = re.search(r"full_key: (\S+)", cause)
            named = f"{self._place(key.group(1))}{key.group(1)}: " if key else ""
            return named + cause.partition("\n")[0]
        if "primary config" in text:
            text = "expected keys and values, got a list"
        elif "defaults" not in text:
            return None
        return f"{self.folder}/{self.name}.yaml: {' '.join(text.split())}" if self.folder else text

    def _undecodable(self) -> str | None:
        for path in self._files():
            try:
                path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                line = path.read_bytes()[: error.start].count(b"\n") + 1
                return f"{path}, line {line}: expected UTF-8, got another encoding; save it so"
        return None

    def _circle(self) -> str | None:
        """Name the configurations that build on each other in a circle."""
        built_on = {
            path.stem: re.findall(r"^\s+-\s+/?([\w/.-]+)\s*$", _text(path), re.MULTILINE)
            for path in self._files()
        }

        def ahead(way: list[str]) -> list[str] | None:
            for one in built_on.get(way[-1], ()):
                found = [*way[way.index(one) :], one] if one in way else ahead([*way, one])
                if found:
                    return found
            return None

        for path in self._files():
            way = ahead([path.stem])
            if way:
                circle = " → ".join(way)
                return f"{path}: the defaults lead in a circle, {circle}; leave one out"
        return None

    def _missing(self, error: Any) -> str:
        wanted = str(error.missing_cfg_file or "").removesuffix(".yaml")
        group, _, leaf = wanted.rpartition("/")
        options: list[str] = list(error.options or ())
        names = [path.stem for path in self._files()]
        names += [
            str(path.relative_to(self.packaged).with_suffix(""))
            for path in self.packaged.rglob("*.yaml")
        ]
        near = suggestion(leaf, options) or suggestion(wanted, names)
        listed = f"; {group}: {', '.join(options)}" if options and len(options) <= 20 else ""
        what = f"{group}={leaf}" if options else wanted
        if group == "hydra/launcher":
            listed += '; those of joblib and Slurm: pip install "solo-ldm[clusters]"'
        return f"{self._place(leaf)}there is no configuration {what}{near}{listed}"

    def _place(self, key: str) -> str:
        """Return "FILE, line N: " of the first own configuration with a key; nothing for none."""
        word = rf"(?<![\w/]){re.escape(key.rpartition('.')[2])}\b"
        for path in self._files():
            for number, line in enumerate(_text(path).splitlines(), start=1):
                if re.search(word, line.partition("#")[0]):
                    return f"{path}, line {number}: "
        return ""

    def _files(self) -> list[Path]:
        """Return the user's files, that of the name asked for first."""
        if self.folder is None:
            return []
        first = self.folder / f"{self.name}.yaml"
        paths = sorted(path for path in self.folder.rglob("*.yaml") if path.is_file())
        return sorted(paths, key=lambda path: path != first)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def _of_yaml(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a sign that YAML does not allow
        line = _text(Path(error.name))[: error.position].count("\n") + 1
        return f"{error.name}, line {line}: {error.reason}"
    problem = str(error.problem or error.context)
    if "'\\t'" in problem:
        problem = "expected spaces before a key, got a tab"
    elif "could not determine a constructor" in problem:
        tag = re.sub(r".*tag '(tag:yaml.org,2002:)?", "!!", problem).rstrip("'")
        problem = f"expected plain values, got the tag {tag}; remove it"
    return f"{mark.name}, line {mark.line + 1}: {problem}"
