"""Estimators for scikit-learn: ``DistbpClassifier`` and ``DistbpRegressor`` (``pip install 'distbp[sklearn]'``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distbp.errors import needs

if TYPE_CHECKING:
    from distbp.sklearn.classifier import DistbpClassifier as DistbpClassifier
    from distbp.sklearn.regressor import DistbpRegressor as DistbpRegressor

_HOMES = {"DistbpClassifier": "distbp.sklearn.classifier", "DistbpRegressor": "distbp.sklearn.regressor"}

__all__ = ["DistbpClassifier", "DistbpRegressor"]


def __getattr__(name: str) -> Any:
    """Import an estimator on its first use, since scikit-learn takes about a second to import."""
    if name not in _HOMES:
        raise AttributeError(f"module 'distbp.sklearn' has no attribute {name!r}")
    from importlib import import_module

    with needs("scikit-learn", "sklearn"):
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
