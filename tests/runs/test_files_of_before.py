"""Runs and models that earlier versions wrote without checksums are still read, with a note."""

import json
import shutil
from pathlib import Path

import pytest

import distbp
from distbp.cli import run as command
from distbp.errors import RunError
from distbp.files.json_files import read_sealed
from distbp.model.network import Network
from distbp.report import page_data
from distbp.runs.records import metrics_so_far
from distbp.runs.saved import read_saved
from distbp.runs.steplog import read_steps

BEFORE = Path(__file__).parent / "written_before"


@pytest.fixture
def before(tmp_path):
    shutil.copytree(BEFORE, tmp_path / "before")
    return tmp_path / "before"


def test_a_model_predicts_with_a_note(before, capsys):
    assert command(["predict", str(before / "finished"), str(before / "rows.csv")], 0.0) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 41
    assert err.startswith("note: the model in ") and "has no checksums" in err
    Network.load(before / "finished").save(before / "again")
    assert command(["predict", str(before / "again"), str(before / "rows.csv")], 0.0) == 0
    assert capsys.readouterr() == (out, "")


def test_a_run_goes_on_with_a_note_and_carries_sums_from_then_on(before):
    notes = []
    read_saved(before / "left", notes.append)
    assert "config.json has no checksum" in notes[0]
    # another machine may compute other bits, which --force takes
    result = distbp.resume(before / "left", before / "rows.csv", force=True)
    assert (result.summary["steps"], len(result.history)) == (24, 6)
    assert read_sealed(before / "left" / "config.json")[1]
    assert metrics_so_far(before / "left").has_sums
    finished = [json.loads(line) for line in (before / "finished" / "metrics.jsonl").read_text().splitlines()]
    assert [record["steps"] for record in result.history] == [record["steps"] for record in finished]


def test_a_run_is_shown_compared_and_listed(before, capsys):
    told = page_data([before / "finished"])["runs"][0]
    assert told["epochs"] == [6, 6]
    assert "has no checksum" in told["notes"][0]
    assert len(read_steps(before / "finished").records) == 24
    assert command(["diff", str(before / "left"), str(before / "finished")], 0.0) == 0
    assert "equal in all 14 steps" in capsys.readouterr().out
    assert command(["runs", str(before)], 0.0) == 0
    assert "broken" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "number"), [("model.json", 2), ("steps.bin", 3)])
def test_a_format_of_a_later_version_is_named(before, name, number):
    path = before / "finished" / name
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": %d' % number))
    with pytest.raises(RunError, match=rf"{name}.*found format {number}, this version of distbp reads 1"):
        Network.load(path.parent) if name == "model.json" else read_steps(path.parent)
