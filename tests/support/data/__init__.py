"""Helpers of the tests of data."""
