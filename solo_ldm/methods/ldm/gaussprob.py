"""gaussprob: latents matched to a Gaussian on the plane."""

from __future__ import annotations

from solo_ldm.methods.base import BaseMethod
from solo_ldm.methods.ldm.body import LDMBody


class GaussProbBody(LDMBody):
    """The body of gaussprob, for any host; see `solo_ldm.latents.GaussianPlane`."""

    latent = "plane"


class GaussProb(GaussProbBody, BaseMethod):
    """gaussprob on our host."""
