"""The console of commands: text of users is shown as it is, and a notice never ends a run."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from solo_ldm.files import escape_unprintable


class PlainConsole(Console):
    """A console that takes no text for markup and whose output may fail.

    Brackets and colons in names stay as they are; what is to be emphasised is a `rich.text.Text`.
    What the terminal cannot encode is shown with backslashes. A closed pipe or a full disk behind
    it stops the output alone; `failed` is that error.
    """

    failed: OSError | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **settings})
        escape_unprintable()

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print as rich does; paths and commands in a text stay in one line."""
        if all(isinstance(one, str | Text) for one in objects):
            settings.setdefault("soft_wrap", True)
        try:
            super().print(*objects, **settings)
        except OSError as error:
            self.failed = error
        except ValueError:  # a closed stream
            pass

    def status(self, *args: Any, **settings: Any) -> Status:
        """Show what is being done, as rich does, where that can be redrawn."""
        if not self.is_jupyter or redraws(self):
            return super().status(*args, **settings)
        return Status(*args, console=Console(quiet=True, force_jupyter=False), **settings)

    def on_broken_pipe(self) -> None:
        """Print nothing from now on."""
        self.quiet = True
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def redraws(console: Console) -> bool:
    """Return whether a bar moves there: on a terminal, and in a notebook that has widgets."""
    if not console.is_jupyter:
        return console.is_terminal
    return find_spec("ipywidgets") is not None


def plain_console(console: Console | None = None, quiet: bool = False) -> Console:
    """Return the console of a command.

    Args:
        console: that a caller gave; it reads no markup from now on. None for standard output.
        quiet: whether to print nothing, where none was given.
    """
    if console is None:
        return PlainConsole(quiet=quiet)
    # rich has no public way; every text of a command would else have to be escaped.
    console._markup = console._emoji = False
    return console
