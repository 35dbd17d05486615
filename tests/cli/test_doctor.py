"""``distbp doctor`` reports each real problem, and nothing on a healthy machine."""

import os
import pty
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from processes import HANG_SECONDS, folders, start_program

from distbp.errors import UsageError
from distbp.system.folders import leftovers, memory_folder
from distbp.system.limits import Limits, cpu_count, limits


def doctor(*arguments: str, before: tuple[str, ...] = (), **variables: str) -> tuple[int, dict[str, str], str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "OMP_", "OPENBLAS_"))}
    command = [*before, sys.executable, "-m", "distbp", "doctor", *arguments]
    done = subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True, timeout=HANG_SECONDS)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return done.returncode, {rest.partition(":")[0]: f"{level} {rest}" for level, rest in lines}, done.stderr


def in_a_terminal(typed: bytes) -> bytes:
    """Return the output of doctor in a terminal with this input."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "distbp", "doctor"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    with suppress(OSError):  # the other side is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait(HANG_SECONDS) == 0
    return shown


def test_a_healthy_machine(tmp_path: Path) -> None:
    code, checks, err = doctor(TMPDIR="/tmp")
    assert (code, err) == (0, "")
    assert list(checks) == ["versions", "BLAS", "shared memory", "limits", "leftovers", "ports", "token", "clock"]
    own = {name: line for name, line in checks.items() if name not in ("leftovers", "shared memory", "limits")}
    assert all(line.startswith("ok ") for line in own.values())


@pytest.mark.alone
def test_a_leftover_of_a_killed_run_is_listed_and_removed() -> None:
    process = start_program("holds_folder", memory_folder(), 3 << 20, stdin=subprocess.PIPE)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder not in leftovers(memory_folder())
    process.kill()
    process.communicate()
    assert folder in leftovers(memory_folder())
    code, checks, _ = doctor()
    assert code == 0
    assert checks["leftovers"].startswith("warning ")
    assert str(folder) in checks["leftovers"]
    assert "distbp clean --yes" in checks["leftovers"]
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
    process = start_program("holds_folder", memory_folder(), 3 << 20, stdin=subprocess.PIPE)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()
    assert f"removed {folder}".encode() in in_a_terminal(b"y\n")
    assert not folder.exists()


def test_too_little_shared_memory() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or os.getuid() != 0:
        pytest.skip("a small /dev/shm needs a mount namespace, and so root")
    small = (unshare, "--mount", "sh", "-c", 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh")
    if subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no mount namespace")
    code, checks, _ = doctor(before=small)
    assert code == 0
    assert checks["shared memory"].startswith("warning shared memory: /dev/shm has 64 MB free of 64")
    assert "--shm-size=2g" in checks["shared memory"]


def test_thread_variables_of_the_environment_have_no_effect() -> None:
    cores = cpu_count()
    _, checks, _ = doctor(OMP_NUM_THREADS=str(4 * cores))
    assert checks["BLAS"].startswith("ok ")
    assert checks["BLAS"].endswith(f"{cores} core{'s' * (cores > 1)}")


def test_a_missing_token(tmp_path: Path) -> None:
    code, checks, _ = doctor(RAY_AUTH_MODE="token", HOME=str(tmp_path))
    assert code == 1
    assert checks["token"].startswith("error token: RAY_AUTH_MODE=token, but there is no token")
    code, checks, _ = doctor("--address", "192.0.2.1:6379")
    assert code == 1
    assert checks["token"].startswith("error ")
    assert "no token protects it" in checks["token"]


def test_an_address_without_a_cluster() -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    code, checks, err = doctor("--address", f"127.0.0.1:{port}")
    assert code == 1
    assert f"cannot connect to 127.0.0.1:{port}" in checks["cluster"]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Limits(None, None)),
        ({"a/b/cpu.max": "50000 100000", "a/memory.max": "536870912", "a/b/memory.max": "max"}, Limits(0.5, 512 << 20)),
        ({"a/b/cpu.max": "max 100000", "cpu.max": "150000 100000"}, Limits(1.5, None)),
        ({"cpu/c/cpu.cfs_quota_us": "-1", "cpu/c/cpu.cfs_period_us": "100000"}, Limits(None, None)),
        (
            {
                "cpu/c/cpu.cfs_quota_us": "20000",
                "cpu/c/cpu.cfs_period_us": "10000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            Limits(2.0, None),
        ),
    ],
    ids=["none", "version 2", "of a group around it", "version 1, none", "version 1"],
)
def test_limits_of_both_versions_of_control_groups(tmp_path: Path, files: dict[str, str], expected: Limits) -> None:
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text + "\n")
    own = tmp_path / "own"
    own.write_text("4:memory:/d\n3:cpu,cpuacct:/c\n0::/a/b\n")
    assert limits(tmp_path / "groups", own) == expected
    assert limits(tmp_path / "groups", tmp_path / "not there") == Limits(None, None)


def test_a_small_container_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from distbp.planning import doctor as module

    monkeypatch.setattr(module, "limits", lambda: Limits(0.5, 512 << 20))
    (check,) = [check for check in module.examine() if check.what == "limits"]
    assert check.level == "warning"
    assert "0.5 CPUs, 512 MB of memory" in check.text
    assert "--workers 0" in check.text


def test_unreachable_nodes_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    from distbp.actors.connection import nodes
    from distbp.planning import doctor as module

    calls = []
    there = nodes.NodeReport("h1 (10.0.0.1)", "", module.__version__, 0.0, 1 << 30)
    cut_off = nodes.NodeReport("h2 (10.0.0.2)", "", module.__version__, 0.0, 1 << 30, None, "10.0.0.2:7000 is not ..")
    monkeypatch.setattr(nodes, "ask_nodes", lambda *given: (calls.append(given), [there, cut_off])[1])
    checks = {check.what: check for check in module.examine("h1:6379", True, "7000-7009")}
    assert calls == [("h1:6379", True, range(7000, 7010))]
    assert checks["node h1 (10.0.0.1)"].level == "ok"
    assert checks["node h2 (10.0.0.2)"].level == "error"
    assert "10.0.0.2:7000 is not .." in checks["node h2 (10.0.0.2)"].text
    assert "--host-ports" in checks["node h2 (10.0.0.2)"].text
    with pytest.raises(UsageError, match="host_ports"):
        list(module.examine(host_ports="many"))


def test_nodes_connect_to_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from distbp.actors.connection import reachability

    monkeypatch.setattr(reachability, "_CONNECTION_SECONDS", 1.0)
    monkeypatch.setattr(reachability.ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    one, other = reachability._Endpoint(), reachability._Endpoint()
    listening = {"one": one.listen(range(1)), "other": other.listen(range(1))}
    assert one.connect({"other": listening["other"]}) == other.connect({"one": listening["one"]}) == {}
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert one.connect({"closed": closed.getsockname()}) == {"closed": "Connection refused"}
    with socket.create_server(("127.0.0.1", 0)) as stalling, ThreadPoolExecutor() as caller:
        answer = caller.submit(one.connect, {"small packets": stalling.getsockname()})
        with stalling.accept()[0] as connection:
            connection.sendall(bytes(500))
            (result,) = answer.result(HANG_SECONDS).values()
    for endpoint in (one, other):
        endpoint._listener.shutdown(socket.SHUT_RDWR)
        endpoint._listener.close()
    assert result == "timed out after 500 bytes: large packets may be dropped, check the MTU"


@pytest.mark.ray
def test_every_node_of_a_cluster(shared_ray: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from distbp.planning.doctor import examine

    checks = {check.what: check for check in examine(shared_ray)}
    (node,) = [check for what, check in checks.items() if what.startswith("node ")]
    assert "answers" in node.text or "shared memory" in node.text
    assert checks["CPU types"].level == "ok"
