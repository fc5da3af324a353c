"""The host: runs, checkpoints, callbacks and the command that ties them together."""
