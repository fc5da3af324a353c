"""Decoders of targets from features: fit, score against a null, intervals."""
