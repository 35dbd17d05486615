import subprocess
import sys


def test_another_library_with_a_blas_of_its_own_is_no_other_arithmetic() -> None:
    code = (
        "from distbp.system.arithmetic import fingerprint; before = fingerprint(); import scipy.linalg; "
        "assert fingerprint() == before, (before, fingerprint())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
