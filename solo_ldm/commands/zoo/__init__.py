"""`solo-ldm zoo`."""
