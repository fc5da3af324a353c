"""Decode targets over all folds of a recording, from latents and from spikes.

    solo-ldm decode --config-name NAME [--config-path FOLDER] [KEY=VALUE ...]

Each fold is held out once; the keys are those of `solo-ldm predictive`.
"""

from solo_ldm.config.command import HydraCommand

decode = HydraCommand(
    run="predictive.commands.decode.run:run",
    schema="predictive.configuration:PredictiveConfig",
    complete="predictive.configuration:complete_with_recording",
    package="predictive.configs",
)
main = decode.main
