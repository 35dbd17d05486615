"""Import of scikit-learn's multi-layer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np

from distbp.errors import UsageError
from distbp.model.network import Network
from distbp.nn.structure import Structure

_OUTPUTS = {
    "softmax": ("softmax", "cross-entropy"),
    "logistic": ("sigmoid", "binary-cross-entropy"),
    "identity": ("identity", "mse"),
}


def from_sklearn(estimator: Any) -> Network:
    """Return the network of a fitted ``MLPClassifier`` or ``MLPRegressor``; it can be trained further.

    Its predictions are the estimator's. scikit-learn is not imported.

    Raises:
        UsageError: the estimator is not fitted, or distbp does not have its output activation.
    """
    coefs, intercepts = getattr(estimator, "coefs_", None), getattr(estimator, "intercepts_", None)
    output = getattr(estimator, "out_activation_", None)
    if coefs is None or intercepts is None or output is None:
        raise UsageError(f"{type(estimator).__name__} is no fitted MLPClassifier or MLPRegressor: fit it first")
    if output not in _OUTPUTS:
        raise UsageError(f"distbp has no output activation {output}: expected {', '.join(_OUTPUTS)}")
    activation, cost = _OUTPUTS[output]
    hidden = {"logistic": "sigmoid"}.get(estimator.activation, estimator.activation)
    sizes = (coefs[0].shape[0], *(len(b) for b in intercepts))
    structure = Structure(sizes, (*[hidden] * (len(sizes) - 2), activation), cost)
    pairs = zip(coefs, intercepts, strict=True)
    weights = np.concatenate([part.reshape(-1) for w, b in pairs for part in (w.T, b)])
    classes = tuple(np.asarray(getattr(estimator, "classes_", ())).tolist())
    has_one_label = output == "softmax" or (len(classes), sizes[-1]) == (2, 1)
    return Network.of(structure, weights, classes if has_one_label else (), byte_factor=1.0)
