import json
import subprocess
from pathlib import Path

import pytest
from processes import ended, start_program

from distbp.errors import RunError, UsageError
from distbp.files.json_files import read_json
from distbp.runs.directory import RunDirectory, check_unused, default_run_directory
from distbp.runs.records import read_metrics


def test_new_run_directory_holds_the_settings(tmp_path):
    RunDirectory(tmp_path / "runs" / "one", {"seed": 3}, print)
    assert read_json(tmp_path / "runs" / "one" / "config.json") == {"seed": 3}
    assert (tmp_path / "runs" / "one" / "checkpoints").is_dir()


def test_every_record_can_be_read_as_soon_as_it_is_written(tmp_path):
    directory = RunDirectory(tmp_path / "one", {}, print)
    for epoch in (1, 2):
        directory.write_metrics({"epoch": epoch})
        assert read_metrics(tmp_path / "one") == [{"epoch": n} for n in range(1, epoch + 1)]


def test_a_resumed_directory_keeps_its_first_epochs(tmp_path):
    directory = RunDirectory(tmp_path, {"workers": 0}, print)
    for epoch in (1, 2, 3):
        directory.write_metrics({"epoch": epoch})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "tor')
    assert read_metrics(tmp_path) == [{"epoch": n} for n in (1, 2, 3)]
    again = RunDirectory.resumed(tmp_path, {"workers": 2}, 2, print)
    again.write_metrics({"epoch": 3, "again": True})
    assert read_metrics(tmp_path) == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "again": True}]
    assert read_json(tmp_path / "config.json") == {"workers": 2}


def test_records_that_cannot_be_written_are_noted_once_and_written_later(tmp_path):
    told = []
    directory = RunDirectory(tmp_path, {}, told.append)
    (tmp_path / "metrics.jsonl").rename(tmp_path / "away")
    for epoch in (1, 2):
        directory.write_metrics({"epoch": epoch})
    assert len(told) == 1
    assert "metrics.jsonl cannot be written" in told[0]
    (tmp_path / "away").rename(tmp_path / "metrics.jsonl")
    directory.write_metrics({"epoch": 3})
    assert read_metrics(tmp_path) == [{"epoch": n} for n in (1, 2, 3)]


def test_summary_is_written(tmp_path):
    RunDirectory(tmp_path / "one", {}, print).write_summary({"steps": 5})
    assert read_json(tmp_path / "one" / "summary.json") == {"steps": 5}


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_directory_that_holds_a_run_is_refused_and_left_alone(name, tmp_path):
    (tmp_path / name).write_text("theirs")
    with pytest.raises(UsageError, match="already holds a run: choose another --run-dir"):
        RunDirectory(tmp_path, {}, print)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "theirs"


def test_file_is_no_run_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file: --run-dir must be a folder"):
        RunDirectory(tmp_path / "file", {}, print)


def test_directory_that_cannot_be_made_is_a_failure(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        RunDirectory(tmp_path / "file" / "below", {}, print)


@pytest.mark.parametrize("exists", [False, True])
def test_new_or_empty_folder_is_unused(exists, tmp_path):
    check_unused(tmp_path if exists else tmp_path / "new")


def test_a_default_directory_is_named_after_the_data_and_belongs_to_one_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        default_run_directory("digits") as one,
        default_run_directory("digits") as two,
        default_run_directory("digits") as three,
    ):
        assert len({one, two, three}) == 3
        assert all(path.parent == Path("runs") and "-digits" in path.name and path.is_dir() for path in (one, two))
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_a_default_directory_is_removed_if_the_run_fails_before_it_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="refused"), default_run_directory("digits"):
        raise ValueError("refused")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="refused"), default_run_directory("digits") as path:
        (path / "mine").touch()
        raise ValueError("refused")
    assert [each.name for each in path.iterdir()] == ["mine"]


@pytest.mark.parametrize("data", ["digits", "bad.csv"])
def test_runs_that_start_in_the_same_second_get_a_directory_each(data, tmp_path):
    """Runs whose data are refused leave nothing behind."""
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    settings = ["--epochs", "2", "--workers", "0"]
    others = [
        start_program(
            "starts_when_told", "train", data, *settings, "--seed", seed, folder=tmp_path, stdin=subprocess.PIPE
        )
        for seed in range(4)
    ]
    assert {other.stdout.readline() for other in others} == {"ready\n"}  # all start at once
    for other in others:
        other.stdin.write("\n")
        other.stdin.flush()
    said = [ended(other) for other in others]
    if data == "bad.csv":
        assert [other.returncode for other in others] == [1] * 4, said
        assert not list(tmp_path.glob("runs/*"))
        return
    assert [other.returncode for other in others] == [0] * 4, said
    runs = list((tmp_path / "runs").iterdir())
    assert sorted(json.loads((run / "config.json").read_text())["seed"] for run in runs) == [0, 1, 2, 3]
    assert all((run / "summary.json").exists() and not (run / ".lock").exists() for run in runs)
