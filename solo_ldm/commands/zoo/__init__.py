"""List, show, download, verify and publish pretrained models.

    solo-ldm zoo list | show NAME | download NAME | verify [NAME ...] | publish RUN ...

`solo-ldm zoo verify --help` and the like say more.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Work with pretrained models as the command line says; 1 where a score differs."""
    from solo_ldm.commands.zoo.run import run

    return run(argv)
