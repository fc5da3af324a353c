"""Recordings of spikes and positions, from files."""
