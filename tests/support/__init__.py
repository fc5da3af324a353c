"""Helpers of the tests: small runs, made-up data, models with known answers."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
