"""Write the latents of a run, or those of another session of its cells.

    solo-ldm latents RUN [data.path=NEW] [format=csv] [KEY=VALUE ...]

Keys and defaults are in predictive/configs/latents.yaml.
"""

from solo_ldm.config.command import HydraCommand

latents = HydraCommand(
    run="predictive.commands.latents.run:run",
    schema="predictive.commands.latents.schema:LatentsConfig",
    default="latents",
    package="predictive.configs",
    positional="run",
)
main = latents.main
