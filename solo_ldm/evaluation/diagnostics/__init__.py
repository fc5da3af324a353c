"""What is in features or latents: their shape, their ranks, and what they tell apart."""
