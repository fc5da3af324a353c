"""The commands of time series."""
