"""Every file of a run directory, damaged at random, gives a one-line error that names it, or the same result.

The examples are drawn from a fixed seed (``derandomize``), so that a failure can be reproduced.
"""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from callers import EndAfter
from damage import as_made, damaged_bytes, other_types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distbp
from distbp.cli import run as command
from distbp.errors import DistbpError, Interrupted, RunError
from distbp.interchange import from_safetensors, to_safetensors
from distbp.model.network import Network
from distbp.runs.checkpoints import check_described, read_checkpoint
from distbp.runs.directory import CONFIG
from distbp.runs.records import METRICS, SUMMARY, read_metrics, read_summary
from distbp.runs.steplog import read_steps
from distbp.runs.timeline import read_timeline

BUDGET = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROWS = Path(__file__).parent / "written_before" / "rows.csv"
OTHERS = {"target": "label", "hidden": (3,), "batch_size": 8, "epochs": 6, "early_stopping": 50, "workers": 0}


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run interrupted in its fourth epoch, and the same run finished."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.raises(Interrupted):
        distbp.train(ROWS, run_dir=folder / "left", callbacks=[EndAfter(14)], **OTHERS)
    distbp.train(ROWS, run_dir=folder / "finished", **OTHERS)
    to_safetensors(Network.load(folder / "finished"), folder / "finished" / "exported.safetensors")
    return folder


@pytest.fixture(scope="module")
def placed(made, tmp_path_factory):
    """Return a function that replaces a file in a shared copy of the runs and restores the file replaced before."""
    folder, changed = tmp_path_factory.mktemp("placed"), []
    shutil.copytree(made, folder, dirs_exist_ok=True)

    def place(name, file, content):
        for before in changed:
            (folder / before).write_bytes((made / before).read_bytes())
        changed[:] = [Path(name) / file]
        (folder / name / file).write_bytes(content)
        return folder / name

    return place


@pytest.fixture
def copied(made, tmp_path):
    """Return a function that copies a run and replaces one file."""

    def make(name, file, content):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        shutil.copytree(made / name, tmp_path / name)
        (tmp_path / name / file).write_bytes(content)
        return tmp_path / name

    return make


def one_line(error, name):
    """Check that an error is one line that names the file."""
    text = str(error)
    assert "\n" not in text.strip(), text
    assert name in text, text
    assert len(text) < 1000, text


# A flipped bit in the name of the checksum leaves one name more than was written, and the rest unchanged.


def outcome(read, path, name):
    """Return what ``read`` returns; None if it raises an error of one line."""
    try:
        return read(path)
    except RunError as error:
        one_line(error, name)
        return None


@BUDGET
@given(data=st.data())
def test_a_model_is_refused_or_the_same(made, placed, data):
    name = data.draw(st.sampled_from(["model.json", "model.safetensors"]))
    content = (made / "finished" / name).read_bytes()
    network = outcome(Network.load, placed("finished", name, data.draw(damaged_bytes(content))), "model")
    if network is not None:
        assert _says(network) == _says(Network.load(made / "finished"))


@BUDGET
@given(data=st.data())
def test_a_model_of_other_types_is_refused_or_predicts(made, placed, data):
    told = json.loads((made / "finished" / "model.json").read_bytes())
    path = placed("finished", "model.json", as_made(data.draw(other_types(told))))
    assert command(["predict", str(path), str(ROWS), "-o", str(path / "out.csv")], 0.0) in (0, 1)


@BUDGET
@given(data=st.data())
def test_a_checkpoint_is_refused_or_the_same(made, placed, data):
    place = max((made / "left" / "checkpoints").iterdir()).relative_to(made / "left")
    expected = read_checkpoint(made / "left" / place, check_described)
    path = placed("left", place, data.draw(damaged_bytes((made / "left" / place).read_bytes())))
    found = outcome(lambda path: read_checkpoint(path / place, check_described), path, "step-")
    if found is not None:
        assert (found.step, found.slots, found.described) == (expected.step, expected.slots, expected.described)
        assert found.state.tobytes() == expected.state.tobytes()


@BUDGET
@given(data=st.data())
def test_a_log_is_refused_or_the_same_as_far_as_it_goes(made, placed, data):
    expected = read_steps(made / "left")
    content = data.draw(damaged_bytes((made / "left" / "steps.bin").read_bytes()))
    found = outcome(read_steps, placed("left", "steps.bin", content), "steps.bin")
    if found is not None:
        assert found.initial == expected.initial
        assert np.array_equal(found.records, expected.records[: len(found.records)])


@BUDGET
@given(data=st.data())
def test_records_of_epochs_are_refused_or_the_same_as_far_as_they_go(made, placed, data):
    expected = read_metrics(made / "left")
    content = data.draw(damaged_bytes((made / "left" / METRICS).read_bytes()))
    found = outcome(read_metrics, placed("left", METRICS, content), METRICS)
    assert found is None or all(one.items() >= other.items() for one, other in zip(found, expected, strict=False))


@BUDGET
@given(data=st.data())
def test_a_summary_is_refused_or_the_same(made, placed, data):
    content = data.draw(damaged_bytes((made / "finished" / SUMMARY).read_bytes()))
    found = outcome(read_summary, placed("finished", SUMMARY, content), SUMMARY)
    assert found is None or found.items() >= read_summary(made / "finished").items()


@BUDGET
@given(data=st.data())
def test_a_timeline_gives_only_lines_that_were_written(made, placed, data):
    expected = read_timeline(made / "left")
    content = data.draw(damaged_bytes((made / "left" / "timeline.jsonl").read_bytes()))
    found = outcome(read_timeline, placed("left", "timeline.jsonl", content), "timeline.jsonl")
    assert found is None or all(any(line.items() >= each.items() for each in expected) for line in found)


@BUDGET
@given(data=st.data())
def test_an_exported_network_is_refused_or_the_same(made, placed, data):
    name = "exported.safetensors"
    path = placed("finished", name, data.draw(damaged_bytes((made / "finished" / name).read_bytes())))
    network = outcome(lambda path: from_safetensors(path / name), path, name)
    assert network is None or network.weights.tobytes() == Network.load(made / "finished").weights.tobytes()


SHOWN = (CONFIG, METRICS, SUMMARY, "timeline.jsonl")


@settings(BUDGET, max_examples=20)
@given(data=st.data())
def test_what_other_types_hold_is_shown_or_refused_in_a_line(made, placed, data, tmp_path_factory, capsys):
    name = data.draw(st.sampled_from(SHOWN))
    content = (made / "finished" / name).read_bytes()
    if name.endswith(".jsonl"):
        lines = content.splitlines()
        place = data.draw(st.integers(0, len(lines) - 1))
        lines[place] = as_made(data.draw(other_types(json.loads(lines[place]))))
        content = b"\n".join(lines) + b"\n"
    else:
        content = as_made(data.draw(other_types(json.loads(content))), indent=2)
    path = placed("finished", name, content)
    page = tmp_path_factory.getbasetemp() / "page.html"
    for words in (["report", path, "-o", page], ["inspect", path], ["diff", path, made / "finished"], ["resume", path]):
        code = command([str(word) for word in words], 0.0)
        said = capsys.readouterr().err
        assert code in (0, 1, 2), words
        assert code == 0 or words[0] == "diff" or ("Error: " in said and max(map(len, said.splitlines())) < 1000), said
    assert command(["runs", str(path.parent)], 0.0) == 0
    capsys.readouterr()


@settings(BUDGET, max_examples=30)
@given(data=st.data())
def test_a_run_that_was_left_goes_on_right_or_not_at_all(made, copied, data):
    name = data.draw(st.sampled_from([CONFIG, METRICS]))
    path = copied("left", name, data.draw(damaged_bytes((made / "left" / name).read_bytes())))
    _goes_on_right_or_not_at_all(made, path, name)


@pytest.mark.parametrize("part", range(4))
def test_one_flipped_bit_anywhere_gives_no_other_result(made, copied, part):
    """200 bits over all files, each file as likely as any other; the seed is the part's number."""
    chance = random.Random(part)
    files = [
        path.relative_to(made / name)
        for name in ("left", "finished")
        for path in (made / name).rglob("*")
        if path.is_file()
    ]
    for _ in range(50):
        name = chance.choice(["left", "finished"])
        file = chance.choice(sorted({each for each in files if (made / name / each).is_file()}))
        content = bytearray((made / name / file).read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path = copied(name, file, bytes(content))
        if name == "left":
            _goes_on_right_or_not_at_all(made, path, str(file))
        else:
            network = outcome(Network.load, path, str(file))
            assert network is None or _says(network) == _says(Network.load(made / "finished"))


def _goes_on_right_or_not_at_all(made, path, name):
    try:
        found = distbp.resume(path).summary["weights_sha256"]
    except DistbpError as error:
        one_line(error, name)
    else:
        assert found == read_summary(made / "finished")["weights_sha256"]


def _says(network):
    return network.structure, network.weights.tobytes(), network.classes, network.byte_factor, network.preprocessing
