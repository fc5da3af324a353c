"""Random overrides of every command, judged by what the keys mean."""
