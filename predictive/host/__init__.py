"""From a configuration to a trained, evaluated and documented predictive method."""
