"""A run on another host is listed, and neither cleaned nor resumed; only --take-over takes it over."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import ended, start_program, wait_until

import distbp
from distbp.cli import run
from distbp.runs.directory import read_metrics
from distbp.runs.writer import RunWriter

SETTINGS = ["digits", "--hidden", "4", "--workers", "0", "--batch-size", "1437"]


@contextmanager
def training(folder: Path, host: str, epochs: int = 100_000) -> Iterator["subprocess.Popen[str]"]:
    """Train up to the fourth epoch in another process, on a host of this name (on this host if it is empty).

    There it waits for the file ``go`` beside its folder.
    """
    arguments = ["train", *SETTINGS, "--epochs", str(epochs), "--run-dir", str(folder), "--quiet"]
    process = start_program("as_host", host, 4, *arguments)
    try:
        wait_until(lambda: (folder / "metrics.jsonl").exists() and len(read_metrics(folder)) == 4, process)
        wait_until(lambda: any((folder / "checkpoints").glob("step-*")), process)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distbp.files.locks.lock.POLL_SECONDS", 0.1)


def fails(process: "subprocess.Popen[str]") -> str:
    """Return the line on stderr of a command that fails."""
    err = ended(process)[1]
    assert process.returncode == 1, err
    (line,) = [line for line in err.splitlines() if line]
    return line


def test_a_run_on_another_host_is_neither_cleaned_nor_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with training(folder, "gpu-7") as process:
        assert run(["runs", str(tmp_path)], 0.0) == 0
        assert "  going on (on gpu-7)  " in capsys.readouterr().out
        assert run(["clean", str(tmp_path), "--left", "--yes"], 0.0) == 0
        assert f"kept: {folder}, which is going on on gpu-7" in capsys.readouterr().err
        assert run(["resume", str(folder)], 0.0) == 1
        assert "(process" in (err := capsys.readouterr().err)
        assert "on gpu-7); wait for it, or end it; --take-over if that host is gone for good" in err
        assert run(["train", *SETTINGS, "--run-dir", str(folder), "--resume", "auto", "--epochs", "100000"], 0.0) == 1
        (tmp_path / "go").touch()
        wait_until(lambda: len(read_metrics(folder)) > 7, process)
    assert (folder / "checkpoints").is_dir()


def test_take_over_ends_the_other_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, epochs, end_epoch = tmp_path / "run", 12, RunWriter.end_epoch

    def while_the_other_looks(writer: RunWriter, record: dict[str, Any], *given: Any) -> None:
        if record["epoch"] == 8:
            (tmp_path / "go").touch()
            wait_until(lambda: process.poll() is not None)
        end_epoch(writer, record, *given)

    monkeypatch.setattr(RunWriter, "end_epoch", while_the_other_looks)
    with training(folder, "gpu-7", epochs) as process:
        assert run(["resume", str(folder), "--take-over", "--quiet"], 0.0) == 0
        assert f"Error: {folder} was taken over by process" in fails(process)
    assert [record["epoch"] for record in read_metrics(folder)] == list(range(1, epochs + 1))
    assert run(["verify", str(folder)], 0.0) == 0
    assert not list(folder.glob(".*"))


def test_a_run_without_heartbeats_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("distbp.files.locks.holders.DEAD_AFTER_SECONDS", 0.5)
    epochs = 12
    with training(tmp_path / "run", "gpu-7", epochs) as process:
        process.kill()
    for name in ("cleaned", "stays"):
        shutil.copytree(tmp_path / "run", tmp_path / "other" / name)
    assert run(["runs", str(tmp_path)], 0.0) == 0
    assert "(on gpu-7)" in capsys.readouterr().out
    (tmp_path / "other" / "stays" / "mine").touch()
    assert run(["clean", str(tmp_path / "other"), "--left", "--yes"], 0.0) == 0
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["stays"]
    assert run(["resume", str(tmp_path / "run")], 0.0) == 0
    assert "which this process cannot inspect: watching its heartbeat" in capsys.readouterr().err
    undisturbed = distbp.train("digits", hidden=(4,), workers=0, batch_size=1437, epochs=epochs)
    summary = distbp.Network.load(tmp_path / "run")
    assert summary.weights.tobytes() == undisturbed.network.weights.tobytes()


def test_a_run_killed_on_this_host_is_resumed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with training(tmp_path, "", 12) as process:
        process.kill()
        process.communicate()
        assert (tmp_path / ".lock").exists()
        assert run(["resume", str(tmp_path)], 0.0) == 0
    assert "heartbeat" not in capsys.readouterr().err
    assert not (tmp_path / ".lock").exists()


def test_a_run_directory_removed_during_the_run_fails(tmp_path: Path) -> None:
    with training(tmp_path / "run", "") as process:
        (tmp_path / "run").rename(tmp_path / "away")
        (tmp_path / "go").touch()
        line = fails(process)
    assert line == f"Error: {tmp_path / 'run'} is no longer this process's: it was removed meanwhile"
    assert not (tmp_path / "run").exists()
