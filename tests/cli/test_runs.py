"""``distbp runs`` and ``distbp clean``: what they list, remove and keep."""

import json
import os
import shutil
from pathlib import Path

import pytest

import distbp
from distbp.cli import run
from distbp.data.prepared.reader import read_prepared
from distbp.runs.directory import lock_run


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for number, (name, lr) in enumerate((("one", "0.01"), ("two", "0.002"))):
        arguments = ["train", "digits", "--workers", "0", "--epochs", "2", "--lr", lr, "--quiet"]
        assert run([*arguments, "--run-dir", str(folder / name)], 0.0) == 0
        os.utime(folder / name / "config.json", (1_700_000_000 + number,) * 2)
    return folder


@pytest.fixture
def runs(a_folder: Path, tmp_path: Path) -> Path:
    """Two finished runs, an unfinished one, a broken one, one with a foreign file, and a folder that is no run."""
    folder = tmp_path / "runs"
    shutil.copytree(a_folder, folder)
    shutil.copytree(folder / "one", folder / "deep" / "left")
    (folder / "deep" / "left" / "summary.json").unlink()
    shutil.copytree(folder / "one", folder / "broken")
    (folder / "broken" / "config.json").write_text("{")
    shutil.copytree(folder / "one", folder / "with-notes")
    (folder / "with-notes" / "notes.txt").write_text("mine")
    (folder / "not-a-run").mkdir()
    (folder / "not-a-run" / "config.json").write_text('{"hidden": 3}')
    (folder / "link").symlink_to(folder / "one")
    return folder


def test_the_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", str(runs)], 0.0) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "began", "state", "epochs", "result", "seconds", "lr"]
    row_of = {row.split()[0]: row for row in rows}
    assert set(row_of) == {"one", "two", "deep/left", "broken", "with-notes"}
    assert list(row_of)[-1] != "two" or len(row_of) == 5
    summary = json.loads((runs / "two" / "summary.json").read_text())
    assert f"2/2     accuracy {summary['test_accuracy']:.4f}" in row_of["two"]
    assert row_of["two"].endswith("0.002")
    assert " left " in row_of["deep/left"]
    assert " broken " in row_of["broken"]
    assert run(["runs", str(runs), "--json"], 0.0) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    began = [record["began"] for record in records]
    assert began == sorted(began, reverse=True)


def test_epochs_have_one_column_if_they_differ(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "digits", "--workers", "0", "--epochs", "1", "--lr", "0.01", "--quiet"]
    assert run([*arguments, "--run-dir", str(runs / "short")], 0.0) == 0
    capsys.readouterr()
    assert run(["runs", str(runs)], 0.0) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "began", "state", "epochs", "result", "seconds", "lr"]
    assert " 1/1 " in next(row for row in rows if row.startswith("short"))


def test_no_folder_and_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", str(tmp_path / "none")], 0.0) == 2
    assert run(["runs", str(tmp_path)], 0.0) == 0
    assert "no runs in" in capsys.readouterr().err


def test_clean_removes_only_what_the_options_name(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def names() -> set[str]:
        return {path.name for path in (*runs.iterdir(), *(runs / "deep").iterdir())}

    before = names()
    assert run(["clean", str(runs), "--left", "--finished"], 0.0) == 0
    out, err = capsys.readouterr()
    assert f"would remove left run {runs / 'deep' / 'left'}" in out
    assert "kept: " in err
    assert "notes.txt" in err
    assert names() == before
    with lock_run(runs / "deep" / "left"):
        assert run(["clean", str(runs), "--left", "--yes"], 0.0) == 0
    assert before - names() == {"broken"}
    assert run(["clean", str(runs), "--left", "--yes"], 0.0) == 0
    assert before - names() == {"broken", "left"}
    assert run(["clean", str(runs), "--finished", "--yes"], 0.0) == 0
    assert before - names() == {"broken", "left", "one", "two"}
    assert (runs / "with-notes" / "notes.txt").read_text() == "mine"


def test_clean_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "distbp" / "mine").mkdir(parents=True)
    (tmp_path / "table.csv").write_text("x,y\n" + "".join(f"{k},{k % 7}\n" for k in range(100)))
    prepared = tmp_path / "distbp" / "table-1"
    assert run(["prepare", str(tmp_path / "table.csv"), "--target", "y", "-o", str(prepared)], 0.0) == 0
    assert run(["clean", str(tmp_path)], 0.0) == 0
    assert run(["clean", str(tmp_path), "--cache"], 0.0) == 0
    assert prepared.is_dir()
    some = read_prepared(prepared).train.x[3:]  # as a running training holds it
    assert run(["clean", str(tmp_path), "--cache", "--yes"], 0.0) == 1
    assert some.sum() != 0
    assert (prepared / "train-x.npy").exists()
    del some
    assert run(["clean", str(tmp_path), "--cache", "--yes"], 0.0) == 0
    assert not prepared.exists()
    assert (tmp_path / "distbp" / "mine").is_dir()


def test_control_characters_of_names_are_replaced(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    bad = tmp_path / os.fsdecode(b"a\x1b[2Jb\nc\xff")
    distbp.train("digits", run_dir=bad, workers=0, hidden=(4,), epochs=1)
    (bad / "mine\x1b").touch()
    assert run(["runs", str(tmp_path)], 0.0) == 0
    assert run(["clean", str(tmp_path), "--finished"], 0.0) == 0
    out, err = capfdbinary.readouterr()
    assert b"\na?[2Jb?c?  " in out
    assert b"a?[2Jb?c?, since distbp did not write mine?" in err
    assert b"\x1b" not in out + err


def test_clean_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["clean", str(tmp_path / "nothing"), "--left", "--yes"], 0.0) == 2
    assert "nothing is not a folder" in capsys.readouterr().err
