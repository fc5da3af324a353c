"""What is run for the paper's claims (runs.yaml), and what decides each (claims.yaml)."""
