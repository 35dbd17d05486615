"""The step log: it is read as it was written, also if the file was cut or the disk was full."""

import pytest
from processes import run_program

from distbp.errors import RunError
from distbp.parallel.step.records import StepRecord
from distbp.runs.steplog import StepLog, read_steps

INITIAL = (5, 2**64 - 1)


def record(step):
    return StepRecord(step, 64, step / 3, 7, 0.1, layers=(step, 2**63 + step))


def log(folder, steps):
    made = StepLog(folder, INITIAL, pytest.fail)
    for step in range(steps):
        made.append(record(step))
    made.flush()
    return folder / "steps.bin"


def test_a_log_is_read_as_it_was_written(tmp_path):
    log(tmp_path, 10)
    initial, records, has_sum = read_steps(tmp_path)
    assert has_sum
    assert initial == INITIAL
    assert records["step"].tolist() == list(range(10))
    assert records["cost"].tolist() == [step / 3 for step in range(10)]
    assert records["layers"].tolist() == [[step, 2**63 + step] for step in range(10)]


def test_a_torn_record_at_the_end_is_left_out(tmp_path):
    path = log(tmp_path, 10)
    path.write_bytes(path.read_bytes()[:-1])
    assert len(read_steps(tmp_path).records) == 9


@pytest.mark.parametrize("torn", [0, 5])
def test_a_log_is_continued_after_the_checkpoint(tmp_path, torn):
    whole = log(tmp_path, 10).read_bytes()
    (tmp_path / "steps.bin").write_bytes(whole[: len(whole) - torn])
    again = StepLog.resumed(tmp_path, 7, pytest.fail)
    for step in range(7, 10):
        again.append(record(step))
    again.flush()
    assert (tmp_path / "steps.bin").read_bytes() == whole


def test_a_log_that_ends_too_early_is_noted_and_not_continued(tmp_path):
    whole, told = log(tmp_path, 3).read_bytes(), []
    again = StepLog.resumed(tmp_path, 7, told.append)
    again.append(record(7))
    again.flush()
    assert "holds 3 steps of 7" in told[0]
    assert (tmp_path / "steps.bin").read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"[" * 100_000, b"\xff\n", b'{"format": 2, "layers": 0, "initial": []}\n']
)
def test_a_damaged_beginning_is_refused(tmp_path, content):
    (tmp_path / "steps.bin").write_bytes(content)
    with pytest.raises(RunError, match=r"steps.bin is damaged"):
        read_steps(tmp_path)


def test_every_flipped_bit_is_found(tmp_path):
    path = log(tmp_path, 4)
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(RunError, match=r"steps\.bin"):
            read_steps(tmp_path)


def test_a_log_of_another_network_is_not_continued(tmp_path):
    whole, told = log(tmp_path, 10).read_bytes(), []
    again = StepLog.resumed(tmp_path, 7, told.append, layers=3)
    again.append(StepRecord(7, 1, 0.0, 0, layers=(1, 2, 3)))
    again.flush()
    assert "is of 2 layers, the network has 3" in told[0]
    assert (tmp_path / "steps.bin").read_bytes() == whole


def without_sums(path):
    """Write the log in format 1, without checksums."""
    line, _, body = path.read_bytes().partition(b"\n")
    size = len(body) // 10
    path.write_bytes(
        line.replace(b'"format": 2', b'"format": 1')
        + b"\n"
        + b"".join(body[start : start + size - 4] for start in range(0, len(body), size))
    )


def test_a_log_of_format_1_is_read_and_continued(tmp_path):
    without_sums(log(tmp_path, 10))
    before = read_steps(tmp_path)
    assert not before.has_sum
    assert len(before.records) == 10
    again = StepLog.resumed(tmp_path, 7, pytest.fail)
    for step in range(7, 10):
        again.append(record(step))
    again.flush()
    for name in before.records.dtype.names:
        assert (read_steps(tmp_path).records[name] == before.records[name]).all()


def test_reading_a_log_with_a_huge_hole_stops_early(tmp_path):
    path = log(tmp_path, 10)
    with path.open("ab") as file:
        file.truncate(30 << 30)
    with pytest.raises(RunError, match="not counted from 0"):
        read_steps(tmp_path)


def test_a_full_disk_is_noted_once_and_leaves_complete_records(tmp_path):
    done = run_program("fills_step_log", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot be written") == 1
    records = read_steps(tmp_path).records
    assert records["step"].tolist() == list(range(len(records)))
    assert len(records) > 5
