"""Separate mixed sources: photographs, drawn sources, time series, mixtures of your own.

    solo-ldm ica [task=NAME] [mixtures=FILE] [KEY=VALUE ...]

Keys and defaults are in configs/ica.yaml.
"""

from solo_ldm.config.command import HydraCommand

ica = HydraCommand(
    run="solo_ldm.commands.ica.run:run",
    schema="solo_ldm.commands.ica.schema:ICAConfig",
    default="ica",
    complete="solo_ldm.commands.ica.schema:complete_ica",
)
main = ica.main
