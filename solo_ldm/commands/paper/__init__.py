"""Check the paper's claims one by one, each with a verdict by a stated rule.

    solo-ldm paper list | run [NAME ...] [--budget MINUTES] [--data NAME=PATH] | report

`run` measures what is not recorded yet, one seed of every claim after the other, within the budget,
and writes docs/paper.md; it continues where it was stopped. `report` writes the page from the
records alone. `solo-ldm paper run --help` says more.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Work on the paper's claims as the command line says; 1 where a run failed."""
    from solo_ldm.commands.paper.command import command

    return command(argv)
