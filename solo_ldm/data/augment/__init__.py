"""Views of images: drawn as numbers, applied to pixels."""
