"""Predictive self-supervised learning of time series: latents that a filter can predict."""
