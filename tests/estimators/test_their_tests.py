"""Run scikit-learn's tests of its multi-layer perceptron on distbp's estimators."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from processes import HANG_SECONDS

IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"

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


def test_the_estimators_pass_the_tests_of_scikit_learn(tmp_path):
    spec = find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text()
    assert IMPORT in source
    (tmp_path / "test_mlp.py").write_text(
        source.replace(IMPORT, "from their_classes import MLPClassifier, MLPRegressor\n")
    )
    left_out = [f"--deselect=test_mlp.py::{name}" for name in DOES_NOT_APPLY]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            *("-p", "their_classes", "-p", "no:randomly", "-p", "no:cacheprovider"),
            *left_out,
            "test_mlp.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    passed = int(done.stdout.split(" passed")[0].split()[-1])
    assert passed >= 40
