"""What a classifier and a regressor say of their targets, which the fit itself knows nothing of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distbp.data.dataset import Array


class Targets:
    """What a subclass says."""

    def _learn_targets(self, y: Array, is_new: bool) -> None:
        """Take in what the targets mean, or check that they still mean the same."""
        raise NotImplementedError

    def _encoded(self, y: Array) -> Array:
        """Return targets as the network needs them: class numbers, shape (rows,), or values."""
        raise NotImplementedError

    def _parts(self, targets: Array) -> tuple[int, str, str]:
        """Return the output nodes for these encoded targets, the output's activation and the cost."""
        raise NotImplementedError

    def _classes(self) -> Sequence[Any]:
        return ()

    def _groups(self, encoded: Array) -> Array | None:
        """Return what the held out rows should have in equal shares, None for nothing."""
        return None

    def _decoded(self, outputs: Array) -> Array:
        """Return the predictions that the network's outputs stand for."""
        raise NotImplementedError

    def _score_of(self, y: Array, predicted: Array, weights: Array | None) -> float:
        raise NotImplementedError

    @property
    def _cost_scale(self) -> float:
        """How many times scikit-learn's gradient ours is: a power of two, so that it takes nothing from the bits."""
        return 1.0

    def _loss(self, cost: float) -> float:
        """Return a mean cost as scikit-learn tells it."""
        return cost

    def _with_class_weights(self, y: Array, weights: Array | None) -> Array | None:
        """Return what each row counts, its class taken in."""
        return weights
