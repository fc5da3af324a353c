"""One look for every picture of both packages."""
