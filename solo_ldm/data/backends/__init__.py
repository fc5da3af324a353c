"""Loaders: torchvision and DALI, which draw the same views."""
