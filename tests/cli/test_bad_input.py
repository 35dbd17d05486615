"""A user's mistake prints one line on stderr, returns the right exit code and starts nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from distbp.cli import run

RunCommand = Callable[..., tuple[int, str]]


@pytest.fixture
def run_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Return a function that runs a command in an empty folder and returns its exit code and its line on stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str]:
        before = set(tmp_path.rglob("*"))
        code = run(arguments, 0.0)
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert set(tmp_path.rglob("*")) == before, "a refused run must leave nothing behind"
        return code, err

    return command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hidden", "0"], "hidden layer 1"),
        (["--hidden", "64,-1"], "hidden layer 2"),
        (["--hidden", "64,x"], "512,512"),
        (["--activation", "rleu"], "did you mean 'relu'"),
        (["--activation", "softmax"], "unknown activation"),
        (["--cost", "mes"], "did you mean 'mse'"),
        (["--optimizer", "adm"], "did you mean 'adam'"),
        (["--dtype", "float16"], "float32"),
        (["--task", "classify"], "did you mean 'classification'"),
        (["--initial", "hee"], "did you mean 'he'"),
        (["--lr", "0"], "--lr"),
        (["--lr", "-1"], "--lr"),
        (["--lr", "nan"], "lr"),
        (["--lr", "inf"], "lr"),
        (["--momentum", "1", "--optimizer", "sgd"], "--momentum"),
        (["--momentum", "0.9"], "momentum belongs to sgd"),
        (["--nesterov"], "nesterov belongs to sgd"),
        (["--batch-size", "0"], "--batch-size"),
        (["--epochs", "-3"], "--epochs"),
        (["--epochs", "many"], "--epochs"),
        (["--workers", "-1"], "--workers"),
        (["--shards", "0"], "--shards"),
        (["--threads", "0"], "--threads"),
        (["--seed", "-1"], "--seed"),
        (["--timeout", "0"], "--timeout"),
        (["--test-fraction", "1"], "--test-fraction"),
        (["--hiden", "3"], "--hidden"),
        (["--config", "none.toml"], "cannot be read"),
        (["--cost", "cross-entropy", "--output", "sigmoid"], "needs the output activation softmax"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_bad_usage(run_command: RunCommand, options: list[str], message: str) -> None:
    code, line = run_command("train", "digits", *options)
    assert code == 2
    assert message in line


def test_unknown_names_get_a_suggestion(run_command: RunCommand) -> None:
    assert run_command("trian", "digits") == (
        2,
        "Error: unknown command 'trian': did you mean 'train'? "
        "Known: train, prepare, resume, verify, diff, evaluate, predict, export, inspect, gradcheck, report, "
        "bench, plan, doctor, runs, clean, submit, jobs, logs, stop, fetch\n",
    )
    code, line = run_command("train", "digitz")
    assert code == 2
    assert "did you mean 'digits'" in line


def test_a_missing_file_fails(run_command: RunCommand) -> None:
    assert run_command("train", "none.npz") == (1, "Error: none.npz does not exist\n")


def test_damaged_data_fail(run_command: RunCommand, tmp_path: Path) -> None:
    good = {"X": np.random.default_rng(0).random((40, 3)), "y": np.arange(40) % 2}
    np.savez(tmp_path / "good.npz", **good)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-60])
    bad = good["X"].copy()
    bad[7, 2] = np.nan
    np.savez(tmp_path / "nan.npz", X=bad, y=good["y"])
    np.savez(tmp_path / "rows.npz", X=good["X"], y=good["y"][:-1])
    np.savez(tmp_path / "text.npz", X=good["X"].astype(str), y=good["y"])
    for name, message in {
        "cut": "cut.npz",
        "nan": "column 2 is nan",
        "rows": "40 rows but 39 targets",
        "text": "must hold numbers, found text",
    }.items():
        code, line = run_command("train", f"{name}.npz")
        assert (code, message in line) == (1, True), line


def test_a_run_directory_in_use_is_bad_usage(run_command: RunCommand, tmp_path: Path, capsys: object) -> None:
    assert run(["train", "digits", "--workers", "0", "--epochs", "1", "--run-dir", "r"], 0.0) == 0
    capsys.readouterr()
    code, line = run_command("train", "digits", "--run-dir", "r")
    assert code == 2
    assert "already holds a run" in line


def test_predict_from_a_folder_without_a_run(run_command: RunCommand) -> None:
    code, line = run_command("predict", "nowhere", "digits")
    assert code == 1
    assert "model.json cannot be read" in line


def test_invalid_settings_files(run_command: RunCommand, tmp_path: Path) -> None:
    for text, message in {
        "epoch = 3": "did you mean 'epochs'",
        "epochs = 0": "--epochs",
        "epochs = [": "is not TOML",
        "hidden = [3, 0]": "hidden layer 2",
    }.items():
        (tmp_path / "s.toml").write_text(text)
        code, line = run_command("train", "digits", "--config", "s.toml")
        assert (code, message in line) == (2, True), line


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "long", "deep"])
def test_settings_files_that_are_not_regular_files(run_command: RunCommand, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "long":
        path.write_bytes(b"#" * (1 << 21))
    else:
        path.write_text("hidden = " + "[" * 100_000)
    code, line = run_command("train", "digits", "--config", "s.toml")
    assert (code, "s.toml" in line, len(line) < 300) == (2, True, True), line


@pytest.mark.parametrize("option", ["--epochs", "--lr", "--hidden", "--workers", "--target", "--address"])
@pytest.mark.parametrize("digits", [401, 5000])
def test_numbers_with_many_digits(run_command: RunCommand, option: str, digits: int) -> None:
    code, line = run_command("train", "digits", option, "1" + "0" * (digits - 1))
    assert code in (1, 2)
    assert len(line) < 2100
