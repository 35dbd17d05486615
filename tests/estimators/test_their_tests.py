"""scikit-learn's own tests of its multi-layer perceptron, with our classes in their place."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"

CLASSES = '''
import distbp.sklearn


def place_of(ours):
    """Return what makes our class for arguments of theirs; where a test needs just any solver, L-BFGS becomes Adam."""

    def make(*args, solver="adam", max_fun=None, **params):
        if solver == "lbfgs":
            solver, params["learning_rate_init"] = "adam", 0.02
            params["max_iter"], params["tol"] = max(600, params.get("max_iter", 0)), 1e-5
        return ours(*args, solver=solver, **params)

    return make


MLPClassifier, MLPRegressor = map(place_of, (distbp.sklearn.DistbpClassifier, distbp.sklearn.DistbpRegressor))
'''

CONFTEST = """
import pytest


@pytest.fixture
def global_random_seed():
    return 42
"""

DOES_NOT_APPLY = {
    "test_fit": "sets private attributes of their class in the middle of its fit",
    "test_gradient": "calls the private gradient of their L-BFGS; ours are in tests/nn",
    "test_lbfgs_classification_maxfun": "max_fun is a parameter of L-BFGS",
    "test_lbfgs_regression_maxfun": "max_fun is a parameter of L-BFGS",
    "test_learning_rate_warmstart": "reads the step size of their private _optimizer",
    "test_adaptive_learning_rate": "reads the step size of their private _optimizer",
    "test_partial_fit_errors": "L-BFGS has no partial_fit, and is replaced here",
    "test_mlp_vs_poisson_glm_equivalent": "our Poisson output is softplus, theirs the exponential",
    "test_mlp_warm_start_no_convergence[lbfgs": "counts the iterations of L-BFGS",
}


def test_they_pass_with_our_classes(tmp_path):
    spec = find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text()
    assert IMPORT in source
    (tmp_path / "test_mlp.py").write_text(source.replace(IMPORT, CLASSES))
    (tmp_path / "conftest.py").write_text(CONFTEST)
    left_out = [f"--deselect=test_mlp.py::{name}" for name in DOES_NOT_APPLY]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *left_out, "test_mlp.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    passed = int(done.stdout.split(" passed")[0].split()[-1])
    assert passed >= 40
