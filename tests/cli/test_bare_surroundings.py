"""Commands without a home folder, in a removed folder or with a read-only cache work or fail with one line."""

import os
from pathlib import Path

import pytest

from distbp.cli import run


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def unknown(*given: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(Path, "expanduser", unknown)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table that is treated as large."""
    monkeypatch.setattr("distbp.data.sizes._LARGE_BYTES", 1 << 10)
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{k},{k % 2}\n" for k in range(500)))
    return tmp_path / "t.csv"


def the_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    return line


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize(
    "arguments", [["doctor"], ["clean"], ["train", "digits", "--workers", "0", "--epochs", "1", "--run-dir", "run"]]
)
def test_no_command_needs_a_home_folder(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments, 0.0) == 0


@pytest.mark.usefixtures("no_home")
def test_the_cache_needs_a_home_folder_or_a_variable(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = [
        "train",
        str(table),
        "--target",
        "y",
        "--workers",
        "0",
        "--epochs",
        "1",
        "--run-dir",
        str(tmp_path / "run"),
    ]
    for arguments in (["clean", str(tmp_path), "--cache"], train):
        assert run(arguments, 0.0) == 1
        assert the_line(capsys).endswith(
            "no home folder: set XDG_CACHE_HOME to a folder with room, or use distbp prepare DATA -o FOLDER"
        )
    assert run(["prepare", str(table), "--target", "y", "-o", str(tmp_path / "out")], 0.0) == 0
    assert run(["evaluate", str(tmp_path / "run"), str(tmp_path / "out")], 0.0) == 1
    assert "run" in the_line(capsys)


def test_a_read_only_home_folder(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert run(["train", str(table), "--target", "y", "--workers", "0", "--run-dir", str(tmp_path / "run")], 0.0) == 1
    line = the_line(capsys)
    assert "cannot be made: Not a directory" in line
    assert line.endswith("set XDG_CACHE_HOME to a folder with room, or use distbp prepare DATA -o FOLDER")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["train", "digits"], ["runs"], ["doctor"]])
def test_a_removed_current_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run(arguments, 0.0) == 1
    assert the_line(capsys) == "Error: the current folder was removed: change to another one (cd)"
    os.chdir(tmp_path)
