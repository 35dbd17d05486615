"""Estimators for scikit-learn: ``DistbpClassifier`` and ``DistbpRegressor`` (``pip install 'distbp[sklearn]'``)."""

from distbp.errors import needs

with needs("scikit-learn", "sklearn"):
    from distbp.sklearn.classifier import DistbpClassifier
    from distbp.sklearn.regressor import DistbpRegressor

__all__ = ["DistbpClassifier", "DistbpRegressor"]
