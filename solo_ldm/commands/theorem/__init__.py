"""Check when predictive latents are the true ones up to an affine map.

    solo-ldm theorem [cases=[NAME,...]] [KEY=VALUE ...]

Keys and defaults are in configs/theorem.yaml.
"""

from solo_ldm.config.command import HydraCommand

theorem = HydraCommand(
    run="solo_ldm.commands.theorem.run:run",
    schema="solo_ldm.commands.theorem.schema:TheoremConfig",
    default="theorem",
    complete="solo_ldm.commands.theorem.schema:complete_theorem",
)
main = theorem.main
