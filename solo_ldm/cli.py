"""The commands: `solo-ldm pretrain …`, and the same as main_pretrain.py."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Hydra reports errors by itself and leaves with its own code unless it is told to raise them.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")

_NAMING_FLAGS = {"--config-name", "-cn", "--help", "-h", "--hydra-help", "--version"}

_USAGE = """\
solo-ldm pretrain --config-name NAME [--config-path FOLDER] [key=value ...]

  --config-name NAME    gaussprob, sphereprob, or a YAML in FOLDER
  --config-path FOLDER  a folder of your own YAMLs; they may build on the packaged groups
  key=value             override a key, e.g. method_kwargs.entropy=neighbour data=cifar10
  --cfg job             print the configuration and leave
  --help                what Hydra can do besides

SOLO_LDM_DEBUG=1 shows the trace of an error."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run `solo-ldm COMMAND …`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return
    command = arguments[0] if arguments else "none"
    if command not in COMMANDS:
        _leave(f"unknown command {command}: expected {', '.join(COMMANDS)} (see solo-ldm --help)")
    COMMANDS[command](arguments[1:])


def pretrain_command(argv: Sequence[str] | None = None) -> None:
    """Pretrain as the command line says; errors a user can mend are one line and exit code 2."""

    def check(cfg: Any) -> None:
        from solo_ldm.host.schema import complete

        complete(cfg)

    def work(cfg: Any) -> None:
        from solo_ldm.host.pretrain import pretrain

        pretrain(cfg)

    _run_with_hydra(
        argv, check, work, "gaussprob, sphereprob or a YAML of yours with --config-path"
    )


def _run_with_hydra(
    argv: Sequence[str] | None,
    check: Callable[[Any], None],
    work: Callable[[Any], None],
    names: str,
    default_name: str | None = None,
) -> None:
    """Compose the configuration that the command line names, check it, and work with it.

    Args:
        argv: the arguments; None means the process's own.
        check: called first; it imports little, so that a misspelt key costs no wait.
        work: what the command does.
        names: what --config-name may be, for the message when it is missing.
        default_name: the configuration used without --config-name.
    """
    import hydra
    from omegaconf import DictConfig

    @hydra.main(version_base="1.3", config_path="configs", config_name=default_name)
    def run(cfg: DictConfig) -> None:
        # Errors end here: Hydra would print a line of its own for those that reach it.
        with _one_line_errors():
            check(cfg)
            work(cfg)

    arguments = list(sys.argv[1:] if argv is None else argv)
    flags = {argument.partition("=")[0] for argument in arguments}
    if default_name is None and not flags & _NAMING_FLAGS:
        _leave(f"give --config-name: {names}")
    sys.argv = [sys.argv[0], *_with_packaged_groups(arguments)]
    with _one_line_errors():
        run()


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"pretrain": pretrain_command}


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError, FileNotFoundError) as error:
        if os.environ.get("SOLO_LDM_DEBUG"):
            raise
        _leave(one_line(error))


def _with_packaged_groups(arguments: list[str]) -> list[str]:
    """Make a --config-path absolute and let its YAMLs use the packaged groups.

    Hydra would take the path relative to this file rather than to where the user is.
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
        return [*arguments, "hydra.searchpath=[pkg://solo_ldm.configs]"]
    return arguments


def one_line(error: BaseException) -> str:
    """Say in one line what an error says in several.

    An error from a loader's worker process arrives with its trace as text; its last line is the
    message. Hydra's errors list choices on lines of their own.
    """
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1]
        return text.partition(": ")[2] or text
    override = re.search(r"Could not override '([^']+)'", text)
    if override:
        from solo_ldm.host.schema import nearest_key

        key = override.group(1)
        return f"unknown key {key}{nearest_key(key)}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines) if lines else type(error).__name__


def _leave(message: Any) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
