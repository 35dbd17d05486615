"""The timeline of a run."""

import json
from itertools import pairwise

import pytest
from callers import EndAfter

import distbp
from distbp.errors import DivergedError, Interrupted
from distbp.parallel.step.records import TimeSpent
from distbp.runs.timeline import NAME, Timeline, read_timeline

SETTINGS = {"workers": 0, "hidden": (16,), "epochs": 3}


def test_the_timeline_has_a_line_for_start_epochs_and_end(tmp_path):
    distbp.train("digits", run_dir=tmp_path, **SETTINGS)
    began, *epochs, ended = read_timeline(tmp_path)
    assert (began["kind"], began["step"], began["sizes"]) == ("began", 0, [64, 16, 10])
    assert began["environment"]["distbp"] == distbp.__version__
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    assert (ended["kind"], ended["how"], ended["step"]) == ("ended", "finished", 36)
    for record in epochs:
        assert record["began"] + record["seconds"] <= record["time"] + 0.002
        assert 0 < record["computing"]["this process"] + record["serving"] <= record["seconds"] + 0.001
    assert all(one["time"] <= other["began"] + 0.002 for one, other in pairwise(epochs))


def test_a_resumed_run_continues_the_timeline(tmp_path):
    with pytest.raises(Interrupted):
        distbp.train("digits", run_dir=tmp_path, callbacks=[EndAfter(17)], **SETTINGS)
    with (tmp_path / NAME).open("a") as file:
        file.write('{"kind": "epoch", "ti')  # a process was killed while it wrote
    distbp.resume(tmp_path)
    told = [(record["kind"], record.get("how") or record.get("epoch")) for record in read_timeline(tmp_path)]
    ends = [("began", None), ("epoch", 1), ("ended", "interrupted")]
    assert told == [*ends, ("began", None), ("epoch", 2), ("epoch", 3), ("ended", "finished")]


def test_the_failure_of_a_run_is_recorded(tmp_path):
    with pytest.raises(DivergedError) as error:
        distbp.train("digits", run_dir=tmp_path, optimizer="sgd", lr=1e9, **SETTINGS)
    last = read_timeline(tmp_path)[-1]
    assert (last["how"], last["text"]) == ("failed", str(error.value))


def test_the_file_stays_small_and_a_disk_that_fails_ends_no_run(tmp_path):
    notes = []
    timeline = Timeline(tmp_path, (2, 1), 0, 1, notes.append)
    for step in range(1200):
        timeline.recovery(step, "x" * 1000)
    assert len(read_timeline(tmp_path)) == 1001
    assert max(map(len, (tmp_path / NAME).read_text().splitlines())) < 1000
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    timeline.end_epoch(1, 1.0, TimeSpent({}, 0.0))
    timeline.end_epoch(2, 1.0, TimeSpent({}, 0.0))
    assert len(notes) == 1


def test_lines_that_are_no_records_are_left_out(tmp_path):
    (tmp_path / NAME).write_text('3\n[]\n{"kind": 4}\nnull\n{"kind": "epoch", "time": 1}\n{"kin' + json.dumps("x"))
    assert read_timeline(tmp_path) == [{"kind": "epoch", "time": 1}]
