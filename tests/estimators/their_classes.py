"""Our classes as scikit-learn's own tests of its multi-layer perceptron find them, and a fixture of its test suite."""

from collections.abc import Callable
from typing import Any

import pytest

import distbp.sklearn


def place_of(ours: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes our class for arguments of theirs; where a test needs just any solver, L-BFGS becomes Adam."""

    def make(*args: Any, solver: str = "adam", max_fun: int | None = None, **params: Any) -> Any:
        if solver == "lbfgs":
            solver, params["learning_rate_init"] = "adam", 0.02
            params["max_iter"], params["tol"] = max(600, params.get("max_iter", 0)), 1e-5
        return ours(*args, solver=solver, **params)

    return make


MLPClassifier, MLPRegressor = map(place_of, (distbp.sklearn.DistbpClassifier, distbp.sklearn.DistbpRegressor))


@pytest.fixture
def global_random_seed() -> int:
    return 42
