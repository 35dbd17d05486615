"""A cluster named in a run directory, which a stranger may have made, is never used unless the user asks for it."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import distbp
from distbp.cli import run
from distbp.errors import ClusterError, UsageError
from distbp.files.json_files import read_json, write_json
from distbp.runs.saved import resume_command
from distbp.training.verify import verify


class _Stop(distbp.Callback):
    def on_step(self, record: object) -> bool:
        return True


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("left") / "run"
    with pytest.raises(distbp.errors.Interrupted):
        distbp.train("digits", workers=0, epochs=1, run_dir=made, callbacks=[_Stop()])
    return made


class Stranger:
    """A listener that counts connections."""

    def __init__(self) -> None:
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.close()


def sent(left: Path, target: Path, **settings: object) -> Path:
    """A run directory that names a cluster, as a stranger may send it."""
    shutil.copytree(left, target)
    config = read_json(target / "config.json")
    write_json(target / "config.json", {**config, "workers": 2, "insecure": True, **settings})
    return target


@pytest.mark.parametrize("command", ["resume", "verify"])
@pytest.mark.parametrize("named", ["127.0.0.1", "auto"])
def test_a_run_that_names_a_cluster_is_not_followed(left, tmp_path, stranger, capsys, command, named, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", stranger.address)
    address = "auto" if named == "auto" else stranger.address
    path = sent(left, tmp_path / "sent", address=address)
    assert run([command, str(path)], 0.0) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f"Error: {path} was computed on the Ray cluster at {address}: add --address {address} to use it again, "
        "or --workers N to compute on this machine"
    )
    with pytest.raises(UsageError, match="add --address"):
        distbp.resume(path) if command == "resume" else verify(path)
    assert stranger.asked == 0


def test_it_is_resumed_on_this_machine_if_asked(left, tmp_path, stranger, capsys):
    path = sent(left, tmp_path / "sent", address=stranger.address)
    assert run(["verify", str(path), "--workers", "0"], 0.0) == 0
    assert run(["resume", str(path), "--workers", "0"], 0.0) == 0
    assert stranger.asked == 0
    settings = json.loads((path / "config.json").read_text())
    assert (settings["address"], settings["insecure"], settings["workers"]) == (None, False, 0)


def test_it_is_resumed_on_the_cluster_if_asked(left, tmp_path):
    path = sent(left, tmp_path / "sent", address="head:6379")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for again in (distbp.resume, verify):
            with pytest.raises(ClusterError, match=f"cannot connect to {address}"):
                again(path, address=address)


def test_a_directory_does_not_say_whether_a_cluster_without_token_is_good(left, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    path = sent(left, tmp_path / "sent", address="192.0.2.1:6379")
    for again in (distbp.resume, verify):
        with pytest.raises(ClusterError, match="is on another machine and no token protects it"):
            again(path, address="192.0.2.1:6379")


def test_an_address_that_is_more_than_an_address_is_refused(left, tmp_path, capsys):
    path = sent(left, tmp_path / "sent", address="x\nError: all is well:1")
    assert run(["resume", str(path)], 0.0) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_command_to_resume_names_the_cluster_of_the_run():
    assert resume_command(Path("a"), None) == "distbp resume a"
    assert resume_command(Path("a"), "head:6379") == "distbp resume a --address head:6379"
    assert resume_command(Path("a"), "$(x):1") == "distbp resume a --address '$(x):1'"
