"""Score features by a linear classifier, or train on.

    solo-ldm linear WEIGHTS [data=NAME] [protocol=NAME] [KEY=VALUE ...]

Keys and defaults are in configs/linear.yaml.
"""

from solo_ldm.config.command import HydraCommand

linear = HydraCommand(
    run="solo_ldm.commands.linear.run:run",
    schema="solo_ldm.commands.linear.schema:LinearConfig",
    default="linear",
    complete="solo_ldm.commands.linear.schema:complete_linear",
    positional="pretrained_feature_extractor",
)
main = linear.main
