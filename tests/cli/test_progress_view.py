"""Progress of a run on terminals of several widths, in a pipe, with --quiet and as JSON lines."""

import json
import math
import re
from pathlib import Path

import pytest
from terminals import watch

from distbp.cli import run
from distbp.cli.progress_state import RunProgress
from distbp.cli.progress_view import progress_lines
from distbp.config import Config
from distbp.nn.structure import Structure
from distbp.parallel.step.records import StepRecord, WorkerRecord
from distbp.parallel.step.shards import Span
from distbp.runs.records import read_metrics
from distbp.training.callbacks import RunRecord

RUN = ["train", "digits", "--workers", "0", "--epochs", "400", "--run-dir", "run"]


def progress(**settings: object) -> RunProgress:
    structure = Structure((64, 8, 10), ("relu", "softmax"), "cross-entropy")
    return RunProgress(RunRecord(Config.from_settings({"epochs": 4, **settings}), structure, 1280, 100, 10, None))


def some_workers(count: int) -> list[WorkerRecord]:
    return [WorkerRecord(number, f"host-{number % 4}", Span(number, number + 1), 0.75, 0.1) for number in range(count)]


@pytest.mark.long
@pytest.mark.ray
def test_eighty_columns_with_two_workers(tmp_path: Path) -> None:
    arguments = ["train", "digits", "--workers", "2", "--epochs", "300", "--run-dir", "run"]
    code, screens, _ = watch(arguments, tmp_path, 80)
    assert code == 0
    seen = [screen for screen in screens if any(line.startswith("worker 1") for line in screen)]
    assert seen, screens[-1]
    text = "\n".join(seen[-1])
    for number in (0, 1):
        assert re.search(rf"worker {number} .* shard {number} .*compute +\d+ %  wait +\d+ %  seen \d+\.\d s ago", text)
    assert re.search(r"epoch \d+/300 +[━─]+ +\d+ %", text)
    assert re.search(r"samples/s +0:00:\d\d elapsed +0:00:\d\d left", text)
    assert len([line for line in seen[-1] if line.startswith("epoch")]) == 1
    last = "\n".join(screens[-1])
    assert "epoch 300/300" in last
    assert "100 %" in last
    assert "worker 0" not in last


def test_a_terminal_that_is_made_narrow_during_the_run(tmp_path: Path) -> None:
    sizes = iter([(40, 12)])

    def look(screen: list[str]) -> tuple[int, int] | None:
        """Make the terminal narrow once the progress bar is visible."""
        return next(sizes, None) if any(line.startswith("epoch") and "━" in line for line in screen) else None

    code, screens, raw = watch(RUN, tmp_path, 200, look=look)
    assert code == 0
    wide = [screen for screen in screens if any("━" in line for line in screen)]
    (bar,) = [line for line in wide[0] if line.startswith("epoch")]
    assert len(bar) < 70
    last = [line for line in screens[-1] if line]
    assert max(map(len, last)) <= 40
    assert "epoch 400/400  100 %" in last
    assert any(re.match(r"test accuracy +0\.9\d+ +[▁-█]{3,}", line) for line in last)
    assert b"note:" not in raw


def test_no_colour(tmp_path: Path) -> None:
    code, _, raw = watch([*RUN[:-3], "60", "--run-dir", "run"], tmp_path, 80, NO_COLOR="1")
    assert code == 0
    assert not re.search(rb"\x1b\[[0-9;]*[1-9][0-9;]*m", raw)


def test_a_terminal_that_cannot_draw_gets_lines(tmp_path: Path) -> None:
    code, screens, raw = watch([*RUN[:-3], "3", "--run-dir", "run"], tmp_path, 80, TERM="dumb")
    assert code == 0
    assert b"\x1b" not in raw
    assert sum(line.startswith("epoch ") for line in screens[-1]) == 3


def test_a_terminal_without_utf_8(tmp_path: Path) -> None:
    code, _, raw = watch([*RUN[:-3], "60", "--run-dir", "run"], tmp_path, 80, PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert code == 0
    assert raw.isascii()
    assert b"####" in raw


def test_json_and_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["train", "digits", "--workers", "0", "--epochs", "3"]
    assert run([*common, "--json", "--run-dir", str(tmp_path / "a")], 0.0) == 0
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records == read_metrics(tmp_path / "a")
    assert "epoch 3/3" in err
    assert "test accuracy 0." in err
    assert run([*common, "--quiet", "--run-dir", str(tmp_path / "b")], 0.0) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"test accuracy 0\.\d{4}\n", out)
    assert err == ""
    assert run([*common, "--quiet", "--json", "--run-dir", str(tmp_path / "c")], 0.0) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err == ""


@pytest.mark.parametrize("width", [1, 10, 33, 60, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 12, 50])
@pytest.mark.parametrize("workers", [0, 1, 64])
def test_the_display_fits_every_terminal(width: int, height: int, workers: int) -> None:
    drawn = progress()
    drawn.findings = [{"kind": "vanishing", "layer": l} for l in (2, 1)]
    drawn.recoveries = 2
    for step in range(15):
        drawn.add_step(StepRecord(step, 128, 0.5, 64))
        lines = progress_lines(drawn, width, height, some_workers(workers), is_ascii=True)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
        assert "".join(lines).isascii()


def test_many_workers_leave_room_for_silent_ones_and_findings() -> None:
    drawn = progress()
    drawn.findings = [{"kind": "vanishing", "layer": l} for l in (2, 1)]
    workers = some_workers(64)
    workers[40] = workers[40]._replace(silent=7.5)
    lines = progress_lines(drawn, 80, 20, workers)
    assert any(line.startswith("worker 40 ") and line.endswith("silent for 7.5 s") for line in lines)
    assert any("more workers of 64 on 4 hosts, each seen within 0.1 s" in line for line in lines)
    assert lines[-1] == "findings: vanishing in layers 1, 2"


def test_before_the_first_step_and_with_a_nan_cost() -> None:
    drawn = progress()
    assert progress_lines(drawn, 80, 24, [])[0].startswith("epoch 1/4 ")
    drawn.add_step(StepRecord(0, 128, math.nan, 0))
    assert any(line.startswith("cost") for line in progress_lines(drawn, 80, 24, []))
