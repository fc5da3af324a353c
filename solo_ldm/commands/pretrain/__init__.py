"""Pretrain a backbone on images, evaluate and document it.

    solo-ldm pretrain --config-name NAME [--config-path FOLDER] [KEY=VALUE ...]

Keys and defaults are in configs/host.yaml.
"""

from solo_ldm.config.command import HydraCommand

pretrain = HydraCommand(
    run="solo_ldm.commands.pretrain.run:run",
    schema="solo_ldm.run.configuration:RunConfig",
    complete="solo_ldm.run.configuration:complete_with_images",
)
main = pretrain.main
