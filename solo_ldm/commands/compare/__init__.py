"""Rank methods over seeds under one budget.

    solo-ldm compare [--config-name NAME] [--config-path FOLDER] [jobs=2] [KEY=VALUE ...]

Keys and defaults are in configs/compare.yaml. Exit code 1 where runs failed.
"""

from solo_ldm.config.command import HydraCommand

compare = HydraCommand(
    run="solo_ldm.commands.compare.run:run",
    schema="solo_ldm.commands.compare.schema:CompareConfig",
    default="compare",
    complete="solo_ldm.commands.compare.schema:complete_compare",
    exit_code=lambda comparison: 1 if comparison.failed else 0,
    launches=True,
)
main = compare.main
