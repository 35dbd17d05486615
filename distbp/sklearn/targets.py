"""The interface by which the common fit uses the targets of a classifier or a regressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distbp.data.dataset import Array


class Targets:
    """The methods on targets that each estimator implements."""

    def _learn_targets(self, y: Array, is_new: bool) -> None:
        """Learn the classes or the shape of the targets; unless ``is_new``, check that they have not changed."""
        raise NotImplementedError

    def _encoded(self, y: Array) -> Array:
        """Return the targets in the form of training: class numbers, shape (rows,), or values."""
        raise NotImplementedError

    def _parts(self, targets: Array) -> tuple[int, str, str]:
        """For these encoded targets, return the number of output nodes, the output activation and the cost."""
        raise NotImplementedError

    def _classes(self) -> Sequence[Any]:
        return ()

    def _groups(self, encoded: Array) -> Array | None:
        """Return the strata of which the same share is held out; None for none."""
        return None

    def _decoded(self, outputs: Array) -> Array:
        """Return the predictions that these outputs of the network mean."""
        raise NotImplementedError

    def _score_of(self, y: Array, predicted: Array, weights: Array | None) -> float:
        raise NotImplementedError

    @property
    def _cost_scale(self) -> float:
        """Ratio of this cost's gradient to scikit-learn's: a power of two, so that dividing by it is exact."""
        return 1.0

    def _loss(self, cost: float) -> float:
        """Return a mean cost in scikit-learn's scale."""
        return cost

    def _with_class_weights(self, y: Array, weights: Array | None) -> Array | None:
        """Return the weight of each row, including the weight of its class."""
        return weights
