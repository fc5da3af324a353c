"""What a training run is: its folder, identity, trainer, callbacks and record."""
