"""Helpers of the tests of methods and of the grid."""
