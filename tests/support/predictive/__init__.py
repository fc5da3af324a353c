"""Helpers of the tests of predictive."""
