"""sphereprob: latents matched to a von Mises–Fisher distribution on the sphere."""

from __future__ import annotations

from solo_ldm.methods.base import BaseMethod
from solo_ldm.methods.ldm.body import LDMBody


class SphereProbBody(LDMBody):
    """The body of sphereprob, for any host; see `solo_ldm.latents.VonMisesFisherSphere`."""

    latent = "sphere"


class SphereProb(SphereProbBody, BaseMethod):
    """sphereprob on our host."""
