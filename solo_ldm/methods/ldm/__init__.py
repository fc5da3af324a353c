"""Latent distribution matching of two or more views."""
