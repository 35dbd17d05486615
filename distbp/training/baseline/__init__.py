"""Baselines: the test scores of a constant prediction and of a linear model, which a network should beat."""

from distbp.training.baseline.scores import baselines

__all__ = ["baselines"]
