"""Assess the Gaussians that a run predicts.

    solo-ldm uncertainty RUN [data=NAME] [KEY=VALUE ...]

Keys and defaults are in configs/uncertainty.yaml.
"""

from solo_ldm.config.command import HydraCommand

uncertainty = HydraCommand(
    run="solo_ldm.commands.uncertainty.run:run",
    schema="solo_ldm.commands.uncertainty.schema:UncertaintyConfig",
    default="uncertainty",
    complete="solo_ldm.commands.uncertainty.schema:complete_uncertainty",
    positional="pretrained_feature_extractor",
)
main = uncertainty.main
