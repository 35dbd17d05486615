"""What is loaded when: the numerics, the help and runs in one process must not load Ray."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import distbp", ["ray", "numpy", "click"]),
        ("import distbp.sklearn", ["ray", "numpy", "sklearn"]),
        ("import distbp.interchange", ["ray", "onnx", "sklearn", "torch"]),
        ("import distbp.tracking", ["ray", "mlflow", "tensorboardX"]),
        ("import distbp.tune", ["ray", "pandas"]),
        ("from distbp.sklearn import DistbpClassifier", ["ray", "onnx", "sklearn.model_selection"]),
        ("import distbp.nn.backprop", ["ray", "click", "rich"]),
        ("from distbp.cli import run; run(['--help'], 0.0)", ["ray", "numpy", "rich"]),
        ("from distbp.cli import run; run(['train', '--help'], 0.0)", ["ray", "rich"]),
        ("from distbp.cli import run; assert run(['train', 'digits', '--workers', '0'], 0.0) == 0", ["ray", "rich"]),
        ("import distbp; distbp.train('digits', workers=0, epochs=1)", ["ray", "click", "rich"]),
    ],
)
def test_modules_that_must_not_be_imported(tmp_path: Path, code: str, absent: list[str]) -> None:
    check = f"import sys; {code}; loaded = set({absent}) & set(sys.modules); assert not loaded, loaded"
    done = subprocess.run([sys.executable, "-W", "error", "-c", check], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
