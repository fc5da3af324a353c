"""`solo-ldm decode`."""
