"""Train a predictor of time series, evaluate and document it.

    solo-ldm predictive --config-name NAME [--config-path FOLDER] [KEY=VALUE ...]

Keys and defaults are in predictive/configs/host.yaml.
"""

from solo_ldm.config.command import HydraCommand

predictive = HydraCommand(
    run="predictive.commands.predictive.run:run",
    schema="predictive.configuration:PredictiveConfig",
    complete="predictive.configuration:complete_with_recording",
    package="predictive.configs",
)
main = predictive.main
