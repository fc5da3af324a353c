"""A command whose keys Hydra reads, and errors in one line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from solo_ldm.config.schema import aliases, complete, nearest_key, open_keys
from solo_ldm.config.suggestions import suggestion

# Hydra reports errors by itself and leaves with its own code unless it is told to raise them.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")

_NAMING_FLAGS = {"--config-name", "-cn", "--help", "-h", "--hydra-help", "--version"}


@dataclass(frozen=True)
class HydraCommand:
    """A command whose keys Hydra reads: a function of a configuration, and of arguments.

    The parts are named as "module:name" and imported when they are needed, so that a configuration
    is complete before what is slow is imported.

    Args:
        run: the work, a function of the completed configuration and a console.
        schema: class of the keys.
        default: configuration without --config-name; None where one has to be named.
        complete: function of what Hydra composed that returns the whole configuration, checked, and
            raises one-line errors (see `schema.complete`); None for that of the schema with the
            defaults in the file of the default configuration.
        package: where the packaged configurations lie.
        positional: key that an argument without = before all others gives.
        exit_code: of what the work returns.
    """

    run: str
    schema: str
    default: str | None = None
    complete: str | None = None
    package: str = "solo_ldm.configs"
    positional: str | None = None
    exit_code: Callable[[Any], int] = lambda result: 0

    def __call__(self, cfg: Any, console: Any = None, **besides: Any) -> Any:
        """Complete a configuration and work as it says.

        Args:
            cfg: a DictConfig, as Hydra composes it.
            console: rich's, to print on; standard output by default.
            **besides: what the work takes besides.

        Returns:
            What the work returns: an `Outcome`, or None in helper processes of distributed training
            and after an interruption.

        Raises:
            ValueError: in one line: a key, a value, weights or data that do not fit.
            FileNotFoundError: in one line: weights or data that are not there.
        """
        if self.complete is None:
            cfg = complete(cfg, _named(self.schema), f"{self.default}.yaml", self.package)
        else:
            cfg = _named(self.complete)(cfg)
        return _named(self.run)(cfg, console, **besides)

    def main(self, arguments: Sequence[str]) -> int:
        """Compose the configuration that the arguments name and work as it says.

        Returns:
            The exit code: that of the work, 2 after an error that a user can fix, 130 after an
            interruption.
        """
        import hydra
        from omegaconf import DictConfig

        codes: list[int] = []

        @hydra.main(
            version_base="1.3", config_path=f"pkg://{self.package}", config_name=self.default
        )
        def compose(cfg: DictConfig) -> None:
            # Errors end here: Hydra would print a line of its own for those that reach it.
            with one_line_errors(self._schema):
                if "LOCAL_RANK" not in os.environ:
                    print("loading libraries", flush=True)  # torch and its like take seconds
                try:
                    codes.append(self.exit_code(self(cfg)))
                except KeyboardInterrupt:
                    codes.append(130)

        flags = {argument.partition("=")[0] for argument in arguments}
        if self.default is None and not flags & _NAMING_FLAGS:
            leave(f"give --config-name: {', '.join(self._names())} or a YAML with --config-path")
        self._check_name(arguments)
        sys.argv = [sys.argv[0], *self._for_hydra(arguments)]
        with one_line_errors(self._schema):
            compose()
        return max(codes, default=0)

    def _schema(self) -> type:
        return _named(self.schema)

    def _names(self) -> list[str]:
        """Return the packaged configurations of a run: those that build on host.yaml."""
        from omegaconf import DictConfig, OmegaConf

        folder = self._folder()
        built_on: dict[str, list[str]] = {}
        for path in sorted(folder.rglob("*.yaml")):
            content = OmegaConf.load(path)
            bases = content.get("defaults", []) if isinstance(content, DictConfig) else []
            name = str(path.relative_to(folder).with_suffix(""))
            built_on[name] = [one.removeprefix("/") for one in bases if isinstance(one, str)]

        def is_run(name: str) -> bool:
            return any(one == "host" or is_run(one) for one in built_on.get(name, ()))

        return [name for name in built_on if is_run(name)]

    def _check_name(self, arguments: Sequence[str]) -> None:
        """Leave with the nearest name if there is no packaged configuration of the name given."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--config-name", "-cn", default=self.default)
        parser.add_argument("--config-path", "-cp")
        parser.add_argument("--config-dir", "-cd")
        given, _ = parser.parse_known_args(list(arguments))
        name = str(given.config_name).removesuffix(".yaml")
        own = given.config_path or given.config_dir
        if given.config_name and not own and not (self._folder() / f"{name}.yaml").is_file():
            near = suggestion(name, self._names())
            leave(f"--config-name: there is no packaged configuration {name}{near}")

    def _folder(self) -> Path:
        return Path(import_module(self.package).__file__ or "").parent

    def _for_hydra(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments as Hydra takes them.

        Paths are absolute, older names of keys replaced by the present ones, and overrides below
        a part that is open may add keys: the checks of `complete` know them, Hydra does not.
        """
        older, made = aliases(self._schema()), []
        open_parts = tuple(f"{part}." for part in open_keys(self._schema()))
        for i, argument in enumerate(with_packaged_groups(list(arguments), self.package)):
            key, separator, value = argument.partition("=")
            named = separator and not Path(argument).exists()
            if i == 0 and self.positional and not named and not key.startswith("-"):
                quoted = argument.replace("\\", "\\\\").replace("'", "\\'")
                key, separator, value = self.positional, "=", f"'{quoted}'"
            key = older.get(key, key)
            made.append(f"{'++' if key.startswith(open_parts) else ''}{key}{separator}{value}")
        return made


def _named(place: str) -> Any:
    """Import what "module:name" names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


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


@contextmanager
def one_line_errors(schema: Callable[[], type] | None = None) -> Iterator[None]:
    """Turn errors that a user can fix into one line and exit code 2; see `one_line`."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    fixable = (HydraException, OmegaConfBaseException, YAMLError, ValueError, FileNotFoundError)
    try:
        yield
    except fixable as error:
        if os.environ.get("SOLO_LDM_DEBUG"):
            raise
        leave(one_line(error, schema))


def one_line(error: BaseException, schema: Callable[[], type] | None = None) -> str:
    """Say in one line what an error says in several.

    An error from a loader's worker process arrives with its trace as text; its last line is the
    message. Hydra's errors list choices on lines of their own.

    Args:
        error: what was raised.
        schema: gives the dataclass of the keys that an unknown key is compared with.
    """
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1]
        return text.partition(": ")[2] or text
    override = re.search(r"Could not override '([^']+)'", text)
    if override:
        key = override.group(1)
        nearest = nearest_key(key, schema()) if schema else ""
        if nearest.endswith(f" {key}?"):  # a mapping that is open, which Hydra wants a + for
            return f"{key} cannot be replaced: set its keys one by one, +{key}.KEY=VALUE"
        return f"unknown key {key}{nearest}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines) if lines else type(error).__name__


def leave(message: str) -> None:
    """Print an error and leave with exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
