"""List, show, download, verify and publish pretrained models.

    solo-ldm zoo list | show NAME | download NAME | verify [NAME ...] | publish RUN ...

`verify` ends with 0 where all is as published, 1 where something differs, 3 where nothing differs
but data are lacking to measure some; `--data FOLDER` says where those are.

`solo-ldm zoo verify --help` and the like say more.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Work with pretrained models as the command line says; 1 where a score differs."""
    from solo_ldm.commands.zoo.run import run

    return run(argv)
