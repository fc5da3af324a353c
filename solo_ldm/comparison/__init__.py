"""Methods × seeds under one budget, ranked: the command `compare`."""
