"""`solo-ldm theorem`."""
