"""`solo-ldm knn`."""
