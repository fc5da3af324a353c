"""Where images come from: arrays, files, folders, lists."""
