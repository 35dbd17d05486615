"""Data of the page for damaged, unfinished, old and unusual runs; and the command that repeats a run."""

import json
import shlex
import shutil
import urllib.error
import urllib.request

import numpy as np
import pytest

import distbp
from distbp.cli import run as command
from distbp.errors import Interrupted
from distbp.report import page_data, serve_page
from distbp.report.page import render_page
from distbp.report.repeat_command import repeat_command
from distbp.runs.records import metrics_line, read_metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "run"
    distbp.train("digits", run_dir=folder, workers=0, hidden=(16,), epochs=3)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """Copy a finished run, for a test to damage."""
    return shutil.copytree(made, tmp_path / "run")


def run_data(*runs):
    data = page_data(runs)
    render_page(data)
    return data["runs"][0]


def test_results_and_mistakes_are_those_of_the_run(made):
    data = run_data(made)
    summary = json.loads((made / "summary.json").read_text())
    assert data["evaluation"]["correct"] == round(summary["test_accuracy"] * 360)
    assert np.sum(data["evaluation"]["confusion"]) == 360
    assert data["curves"]["test_cost"][-1] == pytest.approx(summary["test_cost"], rel=1e-4)
    heights = [mistake["image"]["height"] for mistake in data["evaluation"]["mistakes"]]
    assert set(heights) == {8}
    assert [len(layer["relative"]) for layer in data["layers"]["each"]] == [3, 0]
    totals = data["time_use"]["totals"]
    assert 0 < totals["computing"][0] + totals["serving"] <= totals["steps"]


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("summary.json", "{", "notes"),
        ("summary.json", '{"test_accuracy": "<b>", "wall_seconds": null, "recoveries": []}', None),
        ("metrics.jsonl", '{"epoch": 1, "layers": [3, null], "findings": 7}\n{"epoch": "x"}\n[]\n{"ep', None),
        ("metrics.jsonl", '{"epoch": 1, "layers": {"a": 1}, "findings": [1, {"kind": []}], "lr": 1e999}\n', None),
        ("metrics.jsonl", "", None),
        ("timeline.jsonl", '{"kind": "epoch"}\n{"kind": "epoch", "time": "now"}\n{"kind": "ended", "time": -5}', None),
        ("timeline.jsonl", '{"kind": "began", "time": 5, "sizes": [1, "a"]}\n{"kind": "epoch", "time": 1}', None),
        ("model.json", "[]", "evaluation"),
        ("model.safetensors", "no", "evaluation"),
    ],
)
def test_damaged_files_are_omitted_or_reported(run, name, content, where):
    (run / name).write_text(content)
    data = run_data(run)
    assert where != "notes" or name in data["notes"][0]
    assert where != "evaluation" or "could not be evaluated" in data["evaluation"]["missing"]


def test_an_older_run_has_no_timeline(run):
    (run / "timeline.jsonl").unlink()
    data = run_data(run)
    assert (data["time_use"], data["state"]) == (None, "finished")
    assert all(layer["relative"] == [] for layer in data["layers"]["each"])


def test_missing_costs_leave_gaps(run):
    records = read_metrics(run)
    records[1]["test_cost"] = None
    (run / "metrics.jsonl").write_text("".join(map(metrics_line, records)))
    curves = run_data(run)["curves"]
    assert curves["epoch"] == [1, 2, 3]
    assert [cost is None for cost in curves["test_cost"]] == [False, True, False]


def test_records_before_a_damaged_one_are_shown(run):
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace('"epoch": 2', '"epoch": 3')
    (run / "metrics.jsonl").write_text("".join(lines))
    data = run_data(run)
    assert data["curves"]["epoch"] == [1]
    assert "metrics.jsonl cannot be read: line 2" in data["notes"][0]


def test_missing_and_changed_data_are_reported(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    np.savez(tmp_path / "d.npz", X=x, y=x[:, :2])
    distbp.train(tmp_path / "d.npz", run_dir=tmp_path / "run", workers=0, hidden=(4,), epochs=1)
    assert run_data(tmp_path / "run")["evaluation"]["values"] == 2
    np.savez(tmp_path / "d.npz", X=x + 1, y=x[:, :2])
    assert "have changed since the run" in run_data(tmp_path / "run")["evaluation"]["note"]
    (tmp_path / "d.npz").unlink()
    assert "no longer exists" in run_data(tmp_path / "run")["evaluation"]["missing"]
    distbp.train((x, x), run_dir=tmp_path / "own", workers=0, hidden=(4,), epochs=1)
    data = run_data(tmp_path / "own")
    assert "were arrays" in data["evaluation"]["missing"]
    assert data["command"] is None


def test_an_interrupted_run_is_shown_from_its_checkpoint(tmp_path):
    class End(distbp.Callback):
        def on_step(self, record):
            return record.step == 17

    with pytest.raises(Interrupted):
        distbp.train("digits", run_dir=tmp_path, workers=0, hidden=(16,), epochs=3, callbacks=[End()])
    data = run_data(tmp_path)
    assert (data["state"], data["epochs"]) == ("interrupted", [1, 3])
    assert "distbp resume" in data["state_text"]
    assert data["evaluation"]["rows"] == 360


def test_the_command_repeats_the_run(tmp_path, monkeypatch):
    settings = {"hidden": (12, 8), "activation": ("tanh", "relu"), "optimizer": "sgd", "momentum": 0.5, "epochs": 2}
    settings |= {"class_weights": {"3": 2.5}, "shuffle": False, "early_stopping": 5, "workers": 0, "schedule": "cosine"}
    first = distbp.train("digits", run_dir=tmp_path / "one", **settings).summary["weights_sha256"]
    repeat = run_data(tmp_path / "one")["command"]
    assert "--shards" not in repeat
    monkeypatch.chdir(tmp_path)
    assert command([*shlex.split(repeat)[1:], "--run-dir", "two"], 0.0) == 0
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["weights_sha256"] == first


@pytest.mark.parametrize(
    "settings", [{"data": None}, {"data": 3}, {"data": [1]}, {"activation": "mine"}, {"new_setting": 1}, {"hidden": 7}]
)
def test_a_missing_command_has_a_reason(settings):
    command_text, why = repeat_command({"data": ["digits"]} | settings)
    assert command_text is None
    assert why


def test_bad_usage(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(made)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for arguments, code, message in (
        ([run, "-o", str(tmp_path)], 2, "is a folder"),
        ([str(tmp_path / "none")], 2, "contains no run"),
        (["broken"], 1, "cannot be read"),
        ([run, "-o", "no/where.html"], 1, "cannot be written"),
        ([run, "--port", "80"], 2, "needs --watch"),
        ([run] * 13, 2, "at most 12"),
    ):
        assert command(["report", *arguments], 0.0) == code
        out, err = capsys.readouterr()
        assert message in err
        assert (out, err.count("\n")) == ("", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"broken"}
    (tmp_path / "report.html").write_text("before")
    assert command(["report", run, run], 0.0) == 0
    assert capsys.readouterr().out == "report.html\n"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_only_this_machine_is_served(made):
    with serve_page([made]) as address:
        page = urllib.request.urlopen(address).read().decode()
        assert "connect-src 'self'" in page
        assert json.load(urllib.request.urlopen(f"{address}data.json"))["number"] == 1
        assert urllib.request.urlopen(f"{address}data.json?1").status == 204
        for wanted, code in (
            (urllib.request.Request(address, headers={"Host": "evil.example"}), 403),
            (f"{address}../../etc/passwd", 404),
        ):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(wanted)
            assert error.value.code == code
            error.value.close()
