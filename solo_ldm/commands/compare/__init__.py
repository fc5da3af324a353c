"""`solo-ldm compare`."""
