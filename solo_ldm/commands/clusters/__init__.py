"""Compare the categories that a run found with the classes.

    solo-ldm clusters RUN [KEY=VALUE ...]

Keys and defaults are in configs/clusters.yaml.
"""

from solo_ldm.config.command import HydraCommand

clusters = HydraCommand(
    run="solo_ldm.commands.clusters.run:run",
    schema="solo_ldm.commands.clusters.schema:ClustersConfig",
    default="clusters",
    positional="pretrained_feature_extractor",
)
main = clusters.main
