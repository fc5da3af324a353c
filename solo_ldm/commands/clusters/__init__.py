"""`solo-ldm clusters`."""
