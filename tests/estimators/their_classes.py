"""distbp's estimators under the names of scikit-learn's perceptrons, and a fixture that its tests need."""

from collections.abc import Callable
from typing import Any

import pytest

import distbp.sklearn


def constructor_of(ours: Callable[..., Any]) -> Callable[..., Any]:
    """Return a constructor that takes scikit-learn's arguments; the solver L-BFGS becomes Adam."""

    def make(*args: Any, solver: str = "adam", max_fun: int | None = None, **params: Any) -> Any:
        if solver == "lbfgs":
            solver, params["learning_rate_init"] = "adam", 0.02
            params["max_iter"], params["tol"] = max(600, params.get("max_iter", 0)), 1e-5
        return ours(*args, solver=solver, **params)

    return make


MLPClassifier, MLPRegressor = map(constructor_of, (distbp.sklearn.DistbpClassifier, distbp.sklearn.DistbpRegressor))


@pytest.fixture
def global_random_seed() -> int:
    return 42
