"""What commands on weights share: their keys, and how weights and images are read."""
