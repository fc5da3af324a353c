"""Configuration: schemas, completion, checks of keys and values, one-line errors."""
