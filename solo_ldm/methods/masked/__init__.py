"""JEPA on masked blocks: a vision transformer that predicts hidden blocks of an image."""
