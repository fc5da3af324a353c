"""Evaluation of features: protocols with labels, measures without. Tensors in, numbers out."""
