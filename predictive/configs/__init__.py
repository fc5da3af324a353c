"""Hydra configurations of predictive runs."""
