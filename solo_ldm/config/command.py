"""A command whose keys Hydra reads."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from solo_ldm.config.errors import check_extras, leave, one_line_errors
from solo_ldm.config.interruption import is_first_process
from solo_ldm.config.places import check_places
from solo_ldm.config.schema import complete
from solo_ldm.config.suggestions import suggestion

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from solo_ldm.config.overrides import Arguments

# Hydra reports errors by itself and leaves with its own code unless it is told to raise them.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")
_COMPOSING = Lock()


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
        launches: whether the work is done through hydra/launcher without a sweep, too.
    """

    run: str
    schema: str
    default: str | None = None
    complete: str | None = None
    package: str = "solo_ldm.configs"
    positional: str | None = None
    exit_code: Callable[[Any], int] = lambda result: 0
    launches: bool = False

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
        check_places(cfg)
        check_extras(cfg)
        return _named(self.run)(cfg, console, **besides)

    def main(self, arguments: Sequence[str]) -> int:
        """Compose the configuration that the arguments name and work as it says.

        Returns:
            The exit code: that of the work, 2 after an error that a user can fix, 1 after one of
            the machine and after a sweep with a job that failed.
        """
        import hydra

        from solo_ldm.config.overrides import Arguments, for_hydra, with_packaged_groups
        from solo_ldm.config.sweep import check_launcher, every_job

        given, codes = Arguments.read(arguments), list[int]()
        self._check_name(given)
        errors = partial(one_line_errors, self._schema, partial(self._explained, given))

        @hydra.main(
            version_base="1.3", config_path=f"pkg://{self.package}", config_name=self.default
        )
        def compose(cfg: DictConfig) -> int:
            # Errors end here: Hydra would print a line of its own for those that reach it.
            with errors():
                if not self.launches:
                    check_launcher()
                if is_first_process() and "torch" not in sys.modules:
                    print("loading libraries", flush=True)  # they take seconds
                codes.append(self.exit_code(self(cfg)))
            return codes[-1]

        every = every_job(errors) if given.multirun else nullcontext([])
        with errors(), every as failed:
            overrides = for_hydra(given, self._schema(), self.positional, self._folder())
            flags = with_packaged_groups(given.flags, self.package)
            sys.argv = [sys.argv[0], *flags, *overrides]
            compose()
        if failed:
            print(f"{len(failed)} of the jobs failed:", *failed, sep="\n  ", file=sys.stderr)
            return 1
        return max(codes, default=0)

    def _explained(self, given: Arguments, error: BaseException) -> str | None:
        from solo_ldm.config.own import Own

        if str(error).startswith(f"missing key {self.positional}:"):
            return f"missing key {self.positional}: give WEIGHTS as the first argument"
        return Own(given.own, given.name or self.default, self._folder()).explained(error)

    def _schema(self) -> type:
        return _named(self.schema)

    def _names(self) -> list[str]:
        """Return the packaged configurations of a run: those that build on host.yaml."""
        folder = self._folder()
        paths = sorted(folder.rglob("*.yaml"))
        names = [str(path.relative_to(folder).with_suffix("")) for path in paths]
        return [name for name in names if self._is_run(name)]

    def _is_run(self, name: str) -> bool:
        """Return whether a packaged configuration builds on host.yaml."""
        from omegaconf import DictConfig, OmegaConf

        path = self._folder() / f"{name}.yaml"
        content = OmegaConf.load(path) if path.is_file() else None
        bases = content.get("defaults", []) if isinstance(content, DictConfig) else []
        built_on = [one.removeprefix("/") for one in bases if isinstance(one, str)]
        return "host" in built_on or any(map(self._is_run, built_on))

    def _check_name(self, given: Arguments) -> None:
        """Leave with the nearest name if there is no configuration of the name given."""
        name, own = given.name or self.default, given.own
        if name is None and not given.shows:
            leave(f"give --config-name: {', '.join(self._names())} or a YAML with --config-path")
        mine = own is not None and (own / f"{name}.yaml").is_file()
        packaged = (self._folder() / f"{name}.yaml").is_file()
        if name is None or mine or (packaged and (self.default or self._is_run(name))):
            return
        names = self._names()
        if packaged:
            leave(f"--config-name: {name} is a part of configurations; give {', '.join(names)}")
        names += [] if own is None else [path.stem for path in own.glob("*.yaml") if path.is_file()]
        near = suggestion(name, names)
        for suffix in (".yaml", ".yml"):
            path = (own or Path()) / f"{name}{suffix}"
            if path.is_file():
                folder = f"--config-path {shlex.quote(str(path.parent))} --config-name {path.stem}"
                rename = "" if suffix == ".yaml" else f"rename it to {path.stem}.yaml and "
                leave(f"--config-name: {path} is a file: {rename}give {folder}")
        if own is None:
            leave(f"--config-name: there is no packaged configuration {name}{near}")
        leave(f"--config-name: there is no configuration {name} in {own}, nor a packaged one{near}")

    def _folder(self) -> Path:
        return Path(import_module(self.package).__file__ or "").parent


def composed_of(
    name: str, folder: Path | None, overrides: Sequence[str], package: str = "solo_ldm.configs"
) -> DictConfig:
    """Compose a configuration of the user's folder or, where there is none, a packaged one.

    Either may use the groups of the other.

    Args:
        name: of the configuration.
        folder: of the user's configurations; None for packaged ones alone.
        overrides: as Hydra takes them.
        package: where the packaged configurations lie.

    Raises:
        ValueError: in one line: there is no configuration of this name.
    """
    from hydra import compose, initialize_config_dir, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    packaged = Path(import_module(package).__file__ or "").parent
    own = folder is not None and (folder / f"{name}.yaml").is_file()
    if not own and not (packaged / f"{name}.yaml").is_file():
        paths = packaged.rglob("*.yaml")
        names = [str(path.relative_to(packaged).with_suffix("")) for path in paths]
        where = "packaged" if folder is None else f"in {folder} or packaged"
        raise ValueError(
            f"expected the name of a configuration {where}, got {name!r}{suggestion(name, names)}"
        )
    # A program of Hydra's may have called, and Hydra allows one composer at a time.
    with _COMPOSING:
        before = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            if own and folder is not None:
                search = [f"hydra.searchpath=[pkg://{package}]"]
                context = initialize_config_dir(str(folder.resolve()), version_base="1.3")
            else:
                search = (
                    [] if folder is None else [f"hydra.searchpath=['file://{folder.resolve()}']"]
                )
                context = initialize_config_module(package, version_base="1.3")
            with context:
                return compose(name, overrides=[*search, *overrides])
        finally:
            GlobalHydra.instance().hydra = before  # by now another instance


def composed_again(cfg: DictConfig, choice: str) -> DictConfig | None:
    """Compose what Hydra composed for the running command, with another choice of a group.

    Args:
        cfg: what Hydra composed.
        choice: GROUP=NAME, in place of the one that is given.

    Returns:
        None where the configuration is not the command's own, or says the group by itself.
    """
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException

    if not (HydraConfig.initialized() and GlobalHydra.instance().is_initialized()):
        return None
    known, group = HydraConfig.get(), choice.partition("=")[0]
    name, given = known.job.config_name, [*known.overrides.hydra, *known.overrides.task]
    if compose(name, overrides=given) != cfg:
        return None
    others = [one for one in given if one.lstrip("+").partition("=")[0] != group]
    try:
        return compose(name, overrides=[*others, choice])
    except HydraException:
        return None


def _named(place: str) -> Any:
    """Import what "module:name" names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
