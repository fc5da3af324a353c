"""Classify images by texts alone, and find images and texts by each other.

    solo-ldm zeroshot RUN [data=NAME] [KEY=VALUE ...]

Keys and defaults are in configs/zeroshot.yaml.
"""

from solo_ldm.config.command import HydraCommand

zeroshot = HydraCommand(
    run="solo_ldm.commands.zeroshot.run:run",
    schema="solo_ldm.commands.zeroshot.schema:ZeroShotConfig",
    default="zeroshot",
    complete="solo_ldm.commands.zeroshot.schema:complete_zeroshot",
    positional="pretrained_feature_extractor",
)
main = zeroshot.main
