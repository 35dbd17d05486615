"""Exit of the command after signals at planned moments, with closed standard streams and with closed pipes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from processes import HANG_SECONDS, ended, epochs_done, nothing_left, run_program, start, wait_until

import distbp
from distbp.cli import run
from distbp.system.signals import ENDING, interrupts

SMALL = ["--batch-size", "4", "--shards", "2"]
LONG = ["train", "digits", "--epochs", "100000", "--run-dir", "run", *SMALL]
BRIEF = ["train", "digits", "--epochs", "2", "--run-dir", "run"]


def through_a_shell(before: str, arguments: Sequence[str], after: str, folder: Path) -> "subprocess.Popen[str]":
    command = ["sh", "-c", f'{before} exec "$@" {after}', "sh", sys.executable, "-m", "distbp", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


ALL = "0<&- 1>&- 2>&-"
WORKERS = ["0", pytest.param("2", marks=[pytest.mark.ray, pytest.mark.long])]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("number", [each for each in ENDING if each not in (signal.SIGINT, signal.SIGTERM)])
def test_a_signal_stops_after_the_step_with_a_checkpoint(tmp_path: Path, number: signal.Signals, workers: str) -> None:
    with nothing_left() as environment:
        process = start([*LONG, "--workers", workers], environment, tmp_path)
        wait_until(lambda: epochs_done(tmp_path) >= 2, process)
        process.send_signal(number)
        err = ended(process)[1]
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "to resume from step" in err
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.safetensors"))


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    process = through_a_shell('trap "" INT HUP;', [*LONG, "--workers", "0"], "", tmp_path)
    wait_until(lambda: epochs_done(tmp_path) >= 1, process)
    for number in (signal.SIGINT, signal.SIGHUP):
        before = epochs_done(tmp_path)
        process.send_signal(number)
        wait_until(lambda before=before: epochs_done(tmp_path) >= before + 2, process)
    process.send_signal(signal.SIGTERM)
    err = ended(process)[1]
    assert (process.returncode, "Traceback" in err) == (130, False), err


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_during_exit_keeps_the_exit_code(code: int, number: signal.Signals) -> None:
    """Signals are sent by the last but one exit handler, and by an object that Python destroys after it."""
    done = run_program("late_signal", int(number), code)
    assert (done.returncode, done.stderr) == (code, "")


def test_a_bug_is_not_a_success() -> None:
    done = run_program("broken_command")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a table, and a run on its first rows."""
    folder = tmp_path_factory.mktemp("interrupted")
    x = np.random.default_rng(0).normal(size=(4000, 12)).round(4)
    head = ",".join("abcdefghijkl")
    np.savetxt(folder / "table.csv", x, "%.4f", ",", header=head, comments="")
    np.savetxt(folder / "short.csv", x[:500], "%.4f", ",", header=head, comments="")
    train = ["train", str(folder / "short.csv"), "--target", "l", "--workers", "0", "--epochs", "1", "--quiet"]
    assert run([*train, "--run-dir", str(folder / "run")], 0.0) == 0
    return folder


COMMANDS = {
    "train": ["train", "table.csv", "--target", "l", "--workers", "0", "--epochs", "1", "--run-dir", "new"],
    "prepare": ["prepare", "table.csv", "--target", "l", "-o", "prepared"],
    "evaluate": ["evaluate", "run", "table.csv"],
    "predict": ["predict", "run", "table.csv", "-o", "out.csv"],
    "report": ["report", "run", "-o", "page.html"],
}


def at(table: Path, folder: Path, moment: str, command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that gets SIGINT at a moment (see tests/programs/signalled.py); the moment must occur."""
    for name in ("table.csv", "run"):
        (folder / name).symlink_to(table / name)
    done = run_program("signalled", int(signal.SIGINT), moment, *COMMANDS[command], folder=folder)
    assert "the moment\n" in done.stderr, f"{moment} never came: {done.stderr}"
    assert "Traceback" not in done.stderr and "terminate" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("command", "moment"),
    [
        *[("evaluate", f"import:{name}:1") for name in ("distbp.cli", "click", "numpy", "pyarrow.lib", "pyarrow._csv")],
        ("evaluate", "open:model.json:1"),
        ("evaluate", "open:table.csv:1"),  # what kind of file is it?
        ("evaluate", "open:table.csv:6"),  # in another thread, while the main thread waits
        ("evaluate", "call:score:1"),
        ("predict", "call:Chunks.mark:1"),
        ("predict", "call:TextWriter.__init__:1"),
        ("predict", "call:TextWriter.write:1"),
        ("predict", "rename:out.csv:1"),
        ("prepare", "rename:source.json:1"),
        ("prepare", "call:DataSetBuilder._append:1"),
        ("prepare", "open:train-y.npy:1"),
        ("prepare", "rename:dataset.json:1"),
        ("prepare", "rename:prepared:1"),
        ("report", "open:summary.json:1"),
        ("report", "call:render_page:1"),
        ("report", "rename:page.html:1"),
        ("train", "open:table.csv:9"),
        ("train", "call:MemoryStore.append:1"),
        ("train", "rename:config.json:1"),
        ("train", "rename:metrics.jsonl:1"),
        ("train", "call:Timeline._write:1"),
    ],
)
def test_an_interrupt_prints_one_word_and_leaves_no_partial_files(
    table: Path, tmp_path: Path, command: str, moment: str
) -> None:
    done = at(table, tmp_path, moment, command)
    assert (done.returncode, done.stderr.splitlines()[-1], done.stdout) == (130, "interrupted", "")
    assert {path.name for path in tmp_path.iterdir()} <= {"table.csv", "run", "new", ".prepared.partial"}


@pytest.mark.parametrize("step", [1, 9])
def test_an_interrupt_stops_a_run_after_the_step(table: Path, tmp_path: Path, step: int) -> None:
    done = at(table, tmp_path, f"call:Worker.compute:{step}", "train")
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith(
        f"note: to resume from step {step}: distbp resume new\nError: interrupted in epoch 1\n"
    ), done.stderr
    assert not (tmp_path / "new" / "summary.json").exists()


@pytest.mark.parametrize("moment", ["call:RunWriter.end_epoch:1", "rename:model.json:1", "rename:summary.json:1"])
def test_an_interrupt_after_the_last_step_has_no_effect(table: Path, tmp_path: Path, moment: str) -> None:
    assert at(table, tmp_path, moment, "train").returncode == 0
    assert (tmp_path / "new" / "summary.json").exists()


@pytest.mark.parametrize(
    ("closed", "workers"),
    [
        *((closed, "0") for closed in ("0<&-", "1>&-", "2>&-", ALL)),
        pytest.param(ALL, "2", marks=[pytest.mark.ray, pytest.mark.long]),
    ],
)
def test_closed_standard_streams(tmp_path: Path, closed: str, workers: str) -> None:
    process = through_a_shell("", [*BRIEF, "--workers", workers], closed, tmp_path)
    out, err = ended(process)
    assert process.returncode == 0, err
    assert (tmp_path / "run" / "summary.json").exists()
    assert out.startswith("test accuracy") == ("1>" not in closed)
    assert ("run saved in" in err) == ("2>" not in closed)


def with_a_reader_that_is_gone(
    arguments: Sequence[str], folder: Path, both: bool = False, buffered: bool = True
) -> tuple[int, str]:
    """Run the command with a closed pipe as stdout, or as both streams; return its output."""
    ours, theirs = os.pipe()
    os.close(ours)
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}  # an empty value counts as unset
    done = subprocess.run(
        [sys.executable, "-m", "distbp", *arguments],
        cwd=folder,
        env=environment,
        stdout=theirs,
        text=True,
        timeout=HANG_SECONDS,
        stderr=theirs if both else subprocess.PIPE,
    )
    os.close(theirs)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["--version"],
        ["runs", "."],
        ["inspect", "run"],
        ["report", "run"],
        ["doctor"],
        ["evaluate", "run", "short.csv"],
        ["predict", "run", "short.csv"],
        ["gradcheck", "run"],
    ],
    ids=lambda command: command[0],
)
def test_a_closed_pipe_is_no_failure(table: Path, tmp_path: Path, command: list[str]) -> None:
    for name in ("short.csv", "run"):
        (tmp_path / name).symlink_to(table / name)
    for buffered in (True, False):  # output that is buffered until the end, and output that is not
        code, err = with_a_reader_that_is_gone(command, tmp_path, buffered=buffered)
        assert (code, "Error" in err, "Broken" in err) == (0, False, False), err
    assert with_a_reader_that_is_gone(command, tmp_path, both=True)[0] == 0


def test_bad_usage_with_a_closed_pipe_is_bad_usage(tmp_path: Path) -> None:
    assert with_a_reader_that_is_gone(["train", "digits", "--epochs", "0"], tmp_path, both=True)[0] == 2
    assert with_a_reader_that_is_gone(["train", "none.csv"], tmp_path, both=True)[0] == 1


def test_a_run_continues_after_its_pipe_was_closed(tmp_path: Path) -> None:
    process = start([*BRIEF, "--epochs", "40", "--workers", "0", "--json"], dict(os.environ), tmp_path)
    assert process.stdout is not None and process.stderr is not None
    assert json.loads(process.stdout.readline())["epoch"] == 1
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(HANG_SECONDS), "Traceback" in err, "Error" in err) == (0, False, False), err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == 40


def test_an_interrupt_stops_reading_after_the_block(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Reading(distbp.Callback):
        def on_reading(self, done: int, total: int) -> None:
            seen.append(done)
            interrupts.append(signal.SIGINT)

    monkeypatch.setattr("distbp.data.formats.text._BLOCK", 1 << 16)
    try:
        with pytest.raises(KeyboardInterrupt):
            distbp.train(table / "table.csv", target="l", workers=0, callbacks=[Reading()])
    finally:
        interrupts.clear()
    assert len(seen) == 1
