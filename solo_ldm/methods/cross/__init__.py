"""Image and text as two views, with an encoder each."""
