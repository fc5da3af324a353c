"""Hydra configurations that travel with the package."""
