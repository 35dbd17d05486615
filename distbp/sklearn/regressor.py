"""DistbpRegressor, the counterpart of scikit-learn's MLPRegressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from distbp.data.dataset import Array
from distbp.sklearn.base import BasePerceptron, supports_partial_fit


class DistbpRegressor(RegressorMixin, BasePerceptron):
    """A multi-layer perceptron for regression, with one or several values per row, to replace ``MLPRegressor``.

    Its parameters are those of ``MLPRegressor``, with the same meaning and defaults, except that the solver L-BFGS is
    not available; with ``loss='poisson'`` the output is log(1 + e^z), while scikit-learn's is e^z. ``n_jobs`` and the
    attributes are as in :class:`DistbpClassifier`.

    >>> from sklearn.datasets import make_regression
    >>> x, y = make_regression(200, 5, random_state=0)
    >>> DistbpRegressor(learning_rate_init=0.01, max_iter=500, random_state=0).fit(x, y / 100).score(x, y / 100) > 0.95
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **BasePerceptron._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        n_jobs: int | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the network to X, shape (rows, features), dense or sparse, and values y, (rows,) or (rows, values)."""
        return self._fit(X, y, sample_weight, incremental=False)

    @available_if(supports_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the values of each row, in the shape of y in training."""
        return self._decoded(self._outputs(X))

    def _learn_targets(self, y: Array, is_new: bool) -> None:
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError("Some value(s) of y are negative, which is not allowed for loss='poisson'.")
        if is_new:
            self._is_flat = y.ndim == 1 or y.shape[1] == 1

    def _encoded(self, y: Array) -> Array:
        return np.asarray(y).reshape(len(y), -1)

    def _parts(self, targets: Array) -> tuple[int, str, str]:
        nodes = targets.shape[1]
        return (nodes, "softplus", "poisson") if self.loss == "poisson" else (nodes, "identity", "mse")

    @property
    def _cost_scale(self) -> float:
        return 2.0 if self.loss == "squared_error" else 1.0  # scikit-learn's cost is half the sum of squares

    def _loss(self, cost: float) -> float:
        return cost / (2 * self.n_outputs_) if self.loss == "squared_error" else cost

    def _decoded(self, outputs: Array) -> Array:
        return outputs[:, 0] if self._is_flat else outputs

    def _score_of(self, y: Array, predicted: Array, weights: Array | None) -> float:
        from sklearn.metrics import r2_score  # imported only when needed, since it is slow

        return float(r2_score(y, predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
