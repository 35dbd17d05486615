"""``distbp doctor``: each trouble made for real, and nothing needless on a healthy machine."""

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from processes import folders

from distbp.parallel.arithmetic import cpu_count
from distbp.parallel.folders import leftovers, memory_folder

HOLDER = """
import sys, time
from pathlib import Path
from distbp.parallel.folders import private_folder
with private_folder(Path(sys.argv[1])) as folder:
    (folder / "arrays").write_bytes(bytes(3 << 20))
    print(folder, flush=True)
    time.sleep(60)
"""


def doctor(*arguments: str, before: tuple[str, ...] = (), **variables: str) -> tuple[int, dict[str, str], str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "OMP_", "OPENBLAS_"))}
    command = [*before, sys.executable, "-m", "distbp", "doctor", *arguments]
    done = subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True, timeout=60)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return done.returncode, {rest.partition(":")[0]: f"{level} {rest}" for level, rest in lines}, done.stderr


def in_a_terminal(typed: bytes) -> bytes:
    """Return what doctor shows to somebody who types this."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "distbp", "doctor"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    with suppress(OSError):  # the other side is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown


def test_a_healthy_machine(tmp_path: Path) -> None:
    code, told, err = doctor(TMPDIR="/tmp")
    assert (code, err) == (0, "")
    assert list(told) == ["versions", "BLAS", "shared memory", "leftovers", "ports", "token", "clock"]
    own = {name: line for name, line in told.items() if name not in ("leftovers", "shared memory")}
    assert all(line.startswith("ok ") for line in own.values())


@pytest.mark.alone
def test_a_leftover_of_a_killed_run_is_found_and_removed() -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(memory_folder())], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder not in leftovers(memory_folder())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert folder in leftovers(memory_folder())
    code, told, _ = doctor()
    assert code == 0
    assert told["leftovers"].startswith("warning ")
    assert str(folder) in told["leftovers"]
    assert "distbp clean --yes" in told["leftovers"]
    clean = [sys.executable, "-m", "distbp", "clean"]
    dry = subprocess.run(clean, capture_output=True, text=True)
    assert f"would remove leftover of a dead run {folder} (3.1 MB)" in dry.stdout
    assert folder.is_dir()
    assert b"remove them now? [y/N]:" in in_a_terminal(b"n\n")
    assert folder.is_dir()
    wet = subprocess.run([*clean, "--yes"], capture_output=True, text=True)
    assert wet.returncode == 0
    assert f"removed leftover of a dead run {folder}" in wet.stdout
    assert str(folder) not in folders()


@pytest.mark.alone
def test_a_leftover_is_removed_after_yes() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(memory_folder())], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        folder = Path(os.fsdecode(process.stdout.readline().strip()))
        process.kill()
    assert f"removed {folder}".encode() in in_a_terminal(b"y\n")
    assert not folder.exists()


def test_too_little_shared_memory() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or os.getuid() != 0:
        pytest.skip("a small /dev/shm needs a mount namespace, and so root")
    small = (unshare, "--mount", "sh", "-c", 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh")
    if subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no mount namespace")
    code, told, _ = doctor(before=small)
    assert code == 0
    assert told["shared memory"].startswith("warning shared memory: /dev/shm has 64 MB free of 64")
    assert "--shm-size=2g" in told["shared memory"]


def test_the_environments_threads_do_not_matter() -> None:
    cores = cpu_count()
    _, told, _ = doctor(OMP_NUM_THREADS=str(4 * cores))
    assert told["BLAS"].startswith("ok ")
    assert told["BLAS"].endswith(f"{cores} core{'s' * (cores > 1)}")


def test_a_missing_token(tmp_path: Path) -> None:
    code, told, _ = doctor(RAY_AUTH_MODE="token", HOME=str(tmp_path))
    assert code == 1
    assert told["token"].startswith("error token: RAY_AUTH_MODE=token, but there is no token")
    code, told, _ = doctor("--address", "192.0.2.1:6379")
    assert code == 1
    assert told["token"].startswith("error ")
    assert "no token protects it" in told["token"]


def test_a_dead_address() -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    began = time.monotonic()
    code, told, err = doctor("--address", f"127.0.0.1:{port}")
    assert code == 1
    assert f"nobody answers at 127.0.0.1:{port}" in told["cluster"]
    assert "Traceback" not in err
    assert time.monotonic() - began < 30


@pytest.mark.ray
def test_every_node_of_a_cluster(shared_ray: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from distbp.doctor import examine

    checks = {check.what: check for check in examine(shared_ray)}
    (node,) = [check for what, check in checks.items() if what.startswith("node ")]
    assert "answers" in node.text or "shared memory" in node.text
    assert checks["CPU types"].level == "ok"
