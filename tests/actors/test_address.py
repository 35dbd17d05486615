import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from processes import HANG_SECONDS

import distbp
from distbp.errors import ClusterError

NO_RAY_TO_BE_FOUND = """
import sys
if sys.argv[0] == "-c":
    import ray._private.services as services
    services.find_gcs_addresses = lambda: set()
    services.find_gcs_addresses.cache_clear = lambda: None
    import ray._private.utils as utils
    utils.read_ray_address = lambda temp_dir=None: None
"""


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "distbp", "train", "digits", "--epochs", "1", "--run-dir", "run", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ.copy(), capture_output=True, text=True)


@pytest.mark.ray
def test_a_run_on_an_existing_cluster_gives_the_same_bits_and_leaves_the_cluster(
    shared_ray: str, tmp_path: Path
) -> None:
    import ray

    done = run(tmp_path, "--address", shared_ray, "--workers", "2")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["weights_sha256"] == distbp.train("digits", workers=0, epochs=1).summary["weights_sha256"]
    assert ray.cluster_resources()["CPU"] == 8


@pytest.mark.ray
@pytest.mark.long
def test_more_workers_than_the_cluster_has_cpus(shared_ray: str, tmp_path: Path) -> None:
    """--wait also limits connecting, which takes long on a busy machine."""
    done = run(tmp_path, "--address", shared_ray, "--workers", "99", "--wait", "30")
    assert done.returncode == 1
    assert (
        f"note: --workers 99 needs 99 CPUs, the cluster at {shared_ray} has 8: waiting up to 30 s (--wait) for more"
        in done.stderr
    )
    assert "has 8 after 30 s: use --workers 8 or fewer, or a longer --wait" in done.stderr
    assert done.stderr.count("Error") == 1
    assert "Traceback" not in done.stderr


def test_an_address_where_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        done = run(tmp_path, "--address", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1
    assert "cannot connect to 127.0.0.1" in done.stderr


def test_an_address_where_another_program_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run(tmp_path, "--address", f"127.0.0.1:{other.getsockname()[1]}", "--wait", "5")
    assert done.returncode == 1
    assert "did not answer within 5 s (--wait)" in done.stderr
    assert "no Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_message_names_the_actual_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from distbp.actors.connection import addresses

    monkeypatch.setattr(addresses, "_LEAST_SECONDS", 0.3)
    monkeypatch.setattr(addresses, "_CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for wait, text in ((0.1, r"0\.3 s \(the minimum; --wait is 0\.1\)"), (0.4, r"0\.4 s \(--wait\)")):
            with pytest.raises(ClusterError, match=f"did not answer within {text}"):
                addresses.check_address(address, wait)


def test_every_kind_of_wrong_address_has_its_own_message(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        done = run(tmp_path, "--address", f"127.0.0.1:{web.server_port}")
        web.shutdown()
    assert f"the server at 127.0.0.1:{web.server_port} is not a Ray cluster" in done.stderr
    done = run(tmp_path, "--address", "no-such-host.invalid:6379")
    assert "the host name 'no-such-host.invalid'" in done.stderr
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-m", "distbp", "train", "digits", "--run-dir", "run", "--address", "auto"]
    # hides every Ray process of this machine
    clean |= {"PYTHONPATH": str(tmp_path)}
    (tmp_path / "sitecustomize.py").write_text(NO_RAY_TO_BE_FOUND)
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert "no Ray cluster runs on this machine (--address auto)" in done.stderr


@pytest.mark.ray
@pytest.mark.long
def test_a_missing_or_refused_token(shared_ray: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distbp", "train", "digits", "--address", shared_ray, "--run-dir"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    wrong = {**clean, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789" * 5}
    lost = {**clean, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    expected = (
        (clean, "needs a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
        (wrong, "refuses the token"),
        (lost, f"there is no token in {tmp_path / 'token'}"),
    )

    def answered(run: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, run], cwd=tmp_path, env=environment, capture_output=True, text=True)

    with ThreadPoolExecutor() as at_once:  # Ray retries a refused token for many seconds
        answers = list(at_once.map(answered, "abc", [environment for environment, _ in expected]))
    for done, (_, said) in zip(answers, expected, strict=True):
        assert done.returncode == 1
        assert said in done.stderr
        assert len([line for line in done.stderr.splitlines() if "note: " not in line]) == 1


@pytest.mark.parametrize("address", ["ray://host:1", "nonsense", "host:notaport", ":1"])
def test_a_malformed_address(tmp_path: Path, address: str) -> None:
    done = run(tmp_path, "--address", address)
    assert done.returncode == 2
    assert "HOST:PORT" in done.stderr


def test_an_open_cluster_on_another_machine_is_refused(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-m", "distbp", "train", "digits", "--address", "192.0.2.77:6379", "--run-dir", "run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "on another machine and no token protects it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.ray
@pytest.mark.long
def test_a_run_waits_for_busy_cpus(shared_ray: str, tmp_path: Path) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    others = placement_group([{"CPU": 1}] * 7)
    assert others.wait(30)
    command = [sys.executable, "-m", "distbp", "train", "digits", "--epochs", "1", "--run-dir", "run", "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--address", shared_ray], cwd=tmp_path, env=os.environ.copy(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        note = next((line for line in process.stderr if "waiting" in line), "")
    finally:
        remove_placement_group(others)
    _, said = process.communicate(timeout=HANG_SECONDS)
    what = "--workers 2 needs 2 CPUs, the cluster has 8, of which 1 are free: waiting up to 60 s (--wait) for them"
    assert note == f"note: {what}\n"
    assert process.returncode == 0, said
    assert (tmp_path / "run" / "summary.json").exists()
