"""Helpers of the tests of ICA, the theorem and comparisons."""
