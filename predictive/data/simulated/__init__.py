"""Simulated time series."""
