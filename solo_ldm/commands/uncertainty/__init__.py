"""`solo-ldm uncertainty`."""
