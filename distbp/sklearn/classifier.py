"""DistbpClassifier, the counterpart of scikit-learn's MLPClassifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, type_of_target

from distbp.data.dataset import Array
from distbp.sklearn.base import BasePerceptron, supports_partial_fit


class DistbpClassifier(ClassifierMixin, BasePerceptron):
    """A multi-layer perceptron for classification, with one or several labels per row, to replace ``MLPClassifier``.

    Its parameters are those of ``MLPClassifier``, with the same meaning and defaults, except that the solver L-BFGS is
    not available; ``activation`` may also be any other activation of distbp. New parameters are:

    Parameters
    ----------
    n_jobs : int, default=None
        Number of workers: None for training in this process, -1 for all cores. It never changes the result. Inside
        parallel work of scikit-learn, such as a grid search with its own ``n_jobs``, no workers are started.
    class_weight : dict or 'balanced', default=None
        Weights of the classes.

    Attributes
    ----------
    network_ : distbp.Network
        The fitted network, which :meth:`save` writes without pickle.
    classes_, coefs_, intercepts_, loss_curve_, validation_scores_, .. :
        As in scikit-learn; ``validation_loss_curve_`` has the costs of the rows held out for early stopping.

    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> classifier = DistbpClassifier(learning_rate_init=0.01, random_state=0).fit(x, y)
    >>> classifier.score(x, y) > 0.95
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **BasePerceptron._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        class_weight: Any = None,
        n_jobs: int | None = None,
    ) -> None:
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
        self.class_weight = class_weight
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the network to X, shape (rows, features), dense or sparse, and labels y, (rows,) or (rows, labels)."""
        return self._fit(X, y, sample_weight, incremental=False)

    @available_if(supports_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows; the first call needs all ``classes``, unless y has all of them."""
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all rows: "
                "give the weight of each class"
            )
        if _check_partial_fit_first_call(self, classes):
            self._is_multilabel = type_of_target(y).startswith("multilabel")
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the class of each row, or 0 and 1 for each label."""
        return self._decoded(self._outputs(X))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, shape (rows, classes)."""
        a = self._outputs(X)
        if a.shape[1] > 1:
            return a
        return np.hstack([1 - a, a]) if len(self.classes_) == 2 else 1 - a

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class."""
        with np.errstate(divide="ignore"):
            logarithms: Array = np.log(self.predict_proba(X))
        return logarithms

    def _learn_targets(self, y: Array, is_new: bool) -> None:
        check_classification_targets(y)
        multilabel = type_of_target(y).startswith("multilabel")
        if multilabel:
            labels: Array = np.arange(y.shape[1])
        else:
            y = column_or_1d(y, warn=True)
            labels = np.unique(y)
        if is_new:
            self.classes_, self._is_multilabel = labels, multilabel
        elif self.warm_start and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {labels}"
            )
        elif len(np.setdiff1d(labels, self.classes_)):
            raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. y {labels}")

    def _encoded(self, y: Array) -> Array:
        if self._is_multilabel:
            dense = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            return dense.astype(np.float64)
        numbers: Array = np.searchsorted(self.classes_, column_or_1d(y)).astype(np.int64)
        return numbers

    def _parts(self, targets: Array) -> tuple[int, str, str]:
        if self._is_multilabel or len(self.classes_) <= 2:
            return len(self.classes_) if self._is_multilabel else 1, "sigmoid", "binary-cross-entropy"
        return len(self.classes_), "softmax", "cross-entropy"

    def _classes(self) -> Sequence[Any]:
        return () if self._is_multilabel or len(self.classes_) < 2 else tuple(self.classes_.tolist())

    def _groups(self, encoded: Array) -> Array | None:
        if self._is_multilabel:
            return None
        groups: Array = encoded if len(self.classes_) > 2 else encoded.astype(bool)
        return groups[:, np.newaxis]

    def _with_class_weights(self, y: Array, weights: Array | None) -> Array | None:
        if self.class_weight is None:
            return weights
        class_weights: Array = compute_sample_weight(self.class_weight, y)
        return class_weights if weights is None else class_weights.astype(weights.dtype) * weights

    def _decoded(self, outputs: Array) -> Array:
        if self._is_multilabel:
            return (outputs > 0.5).astype(int)
        if outputs.shape[1] > 1:
            chosen = outputs.argmax(axis=1)
        else:
            chosen = (outputs[:, 0] > 0.5).astype(np.intp) if len(self.classes_) == 2 else np.zeros(len(outputs), int)
        predicted: Array = self.classes_[chosen]
        return predicted

    def _score_of(self, y: Array, predicted: Array, weights: Array | None) -> float:
        from sklearn.metrics import accuracy_score  # imported only when needed, since it is slow

        return float(accuracy_score(y, predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
