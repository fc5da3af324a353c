"""`solo-ldm predictive`."""
