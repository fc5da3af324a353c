"""Loading with DALI, on a GPU or a CPU."""
