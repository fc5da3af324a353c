"""Time series: simulated ones, recordings, and how they are cut and split."""
