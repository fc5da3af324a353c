"""Whatever users have their recordings in, as sequences."""
