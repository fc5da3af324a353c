"""Other frameworks: what of them is used here, and what of ours they are given."""
