"""Weights of any origin in, safetensors out."""
