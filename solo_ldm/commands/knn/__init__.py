"""Score features by nearest neighbours.

    solo-ldm knn WEIGHTS [data=NAME] [KEY=VALUE ...]

Keys and defaults are in configs/knn.yaml.
"""

from solo_ldm.config.command import HydraCommand

knn = HydraCommand(
    run="solo_ldm.commands.knn.run:run",
    schema="solo_ldm.commands.knn.schema:KnnConfig",
    default="knn",
    complete="solo_ldm.commands.knn.schema:complete_knn",
    positional="pretrained_feature_extractor",
)
main = knn.main
