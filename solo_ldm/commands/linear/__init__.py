"""`solo-ldm linear`."""
