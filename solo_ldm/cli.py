"""`solo-ldm COMMAND …`: the name of a command, and where it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from inspect import cleandoc

from solo_ldm.config.command import HydraCommand
from solo_ldm.config.errors import leave, one_line_errors, printing, warnings_in_one_line
from solo_ldm.config.interruption import interruptible
from solo_ldm.config.suggestions import suggestion
from solo_ldm.files import escape_unprintable

# The module of a command: its docstring is the help, its `main` takes the arguments and returns the
# exit code.
COMMANDS = {
    "pretrain": "solo_ldm.commands.pretrain",
    "knn": "solo_ldm.commands.knn",
    "linear": "solo_ldm.commands.linear",
    "uncertainty": "solo_ldm.commands.uncertainty",
    "clusters": "solo_ldm.commands.clusters",
    "zeroshot": "solo_ldm.commands.zeroshot",
    "diagnostics": "solo_ldm.commands.diagnostics",
    "compare": "solo_ldm.commands.compare",
    "ica": "solo_ldm.commands.ica",
    "theorem": "solo_ldm.commands.theorem",
    "paper": "solo_ldm.commands.paper",
    "export": "solo_ldm.commands.export",
    "zoo": "solo_ldm.commands.zoo",
    "predictive": "predictive.commands.predictive",
    "decode": "predictive.commands.decode",
    "latents": "predictive.commands.latents",
}

_KEYS = """\
WEIGHTS  a run's folder, a checkpoint (also solo-learn's), a .safetensors file, timm:NAME,
         zoo:NAME, hf-hub:OWNER/NAME
NAME     a packaged configuration, or a YAML in the folder given by --config-path
KEY=VALUE  overrides a key; `solo-ldm COMMAND --help` says more, `--cfg job` prints all keys

SOLO_LDM_DEBUG=1 shows the trace of an error."""

# Lightning starts the other processes of a distributed run with the arguments that Hydra saw, which
# lack the command.
_COMMAND_OF_HELPERS = "SOLO_LDM_COMMAND"


def main(argv: Sequence[str] | None = None) -> None:
    """Run `solo-ldm COMMAND …`; errors that a user can fix are one line and exit code 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "--version"):
        with one_line_errors(), printing():
            print(f"solo-ldm {version('solo-ldm')}" if "--version" in arguments else usage())
        sys.exit(0 if arguments else 2)
    begun = os.environ.get(_COMMAND_OF_HELPERS)
    if begun and "LOCAL_RANK" in os.environ and arguments[:1] != [begun]:
        arguments.insert(0, begun)
    run_command(arguments[0], arguments[1:])


def run_command(name: str, argv: Sequence[str] | None = None) -> None:
    """Run one command with its arguments, those of the process if none are given."""
    if name not in COMMANDS:
        nearest = suggestion(name, list(COMMANDS))
        leave(f"unknown command {name}: expected {', '.join(COMMANDS)}{nearest}")
    os.environ[_COMMAND_OF_HELPERS] = name
    escape_unprintable()
    arguments = sys.argv[1:] if argv is None else argv
    with one_line_errors():
        module = import_module(COMMANDS[name])
    if isinstance(getattr(module, name, None), HydraCommand) and {"-h", "--help"} & {*arguments}:
        with one_line_errors(), printing():
            print(f"{cleandoc(module.__doc__ or '')}\n\n{_KEYS}")
        return
    with interruptible(name, arguments), warnings_in_one_line(), one_line_errors():
        code = module.main(arguments)
    if code:
        sys.exit(code)


def usage() -> str:
    """Return the help: of each command the synopsis and the summary in its docstring."""
    rows = []
    for module in COMMANDS.values():
        summary, _, rest = (import_module(module).__doc__ or "").partition("\n")
        lines = [line.strip() for line in rest.splitlines()]
        synopsis = [line for line in lines if line.startswith("solo-ldm ")]
        rows.append("\n".join([*synopsis, f"    {summary}"]))
    return "\n".join([*rows, "", _KEYS])


if __name__ == "__main__":
    main()
