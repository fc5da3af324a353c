"""Self-supervised learning as latent distribution matching.

This file imports nothing, so that `solo_ldm.latents`, `solo_ldm.entropy` and `solo_ldm.objective`
need torch alone.
"""

__version__ = "0.1.0"
