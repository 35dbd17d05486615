import subprocess
import sys


def test_the_fingerprint_ignores_the_blas_of_another_library() -> None:
    code = (
        "from distbp.system.arithmetic import fingerprint; before = fingerprint(); import scipy.linalg; "
        "assert fingerprint() == before, (before, fingerprint())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
