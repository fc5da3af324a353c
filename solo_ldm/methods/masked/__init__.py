"""Masked modelling: a vision transformer that predicts hidden patches of an image."""
