"""`solo-ldm ica`."""
