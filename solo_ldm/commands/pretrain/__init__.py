"""`solo-ldm pretrain`."""
