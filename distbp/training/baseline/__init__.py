"""What a network has to beat: the best constant prediction, and a linear model, on the same test rows."""

from distbp.training.baseline.scores import baselines

__all__ = ["baselines"]
