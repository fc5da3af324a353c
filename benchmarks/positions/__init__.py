"""The parts of benchmarks/recordings.py: folds, features, tables and the picture."""
