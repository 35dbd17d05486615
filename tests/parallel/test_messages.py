"""Messages of workers and server are received as sent; one that cannot be read gives one error."""

import math
import struct

import pytest

from distbp.errors import DivergedError, TrainingError
from distbp.parallel.host.messages import (
    LayerDone,
    Note,
    RunEnded,
    StepDiverged,
    ViewEnded,
    WeightsDiffer,
    WorkerEnded,
    WorkerJoined,
    WorkerLost,
    WorkerReport,
    decode,
    encode,
    ended_run,
    pack_worker_message,
    unpack_worker_message,
    worker_message_size,
)
from distbp.parallel.mesh.agreement import Difference
from distbp.parallel.step.records import Divergence, Report, StepRecord
from distbp.parallel.step.reports import pack_report, report_size, unpack_report
from distbp.parallel.step.shards import Span

SHARDS = 7
REPORT = Report(Span(2, 5), 40, (1.5, 0.25, 3.0), 17, (10.0, 15.0, 15.0), (0.5, 1e30, 0.0), (10.0, 15.5, 0.0))


@pytest.mark.parametrize("divergence", [None, Divergence("the cost", 2), Divergence("a gradient", 1)])
def test_report_is_received_as_sent(divergence):
    report = Report(
        Span(2, 5), 40, (1.5, 0.25, 3.0), 17, (10.0, 15.0, 15.0), (0.5, 1e30, 0.0), (10.0, 15.5, 0.0), divergence
    )
    message = pack_report(report, SHARDS)
    assert len(message) == report_size(SHARDS)
    assert unpack_report(message) == report


@pytest.mark.parametrize("message", [WorkerReport(12, REPORT), LayerDone(2**40, Span(3, 7), 255)])
def test_message_of_a_worker_is_received_as_sent(message):
    packed = pack_worker_message(message, SHARDS)
    assert len(packed) == worker_message_size(SHARDS)
    unpacked = unpack_worker_message(packed)
    assert type(unpacked) is type(message)
    assert unpacked == message


@pytest.mark.parametrize(
    ("offset", "damage"),
    [(0, b"\x07"), (9, struct.pack("<II", 0, 9)), (9, struct.pack("<II", 5, 2)), (9 + 24, b"\x09")],
    ids=["unknown kind", "too many shards", "shards backwards", "unknown divergence"],
)
def test_damaged_message_of_a_worker_gives_one_error(offset, damage):
    packed = bytearray(pack_worker_message(WorkerReport(12, REPORT), SHARDS))
    packed[offset : offset + len(damage)] = damage
    with pytest.raises(TrainingError, match=r"^cannot read a worker's message"):
        unpack_worker_message(bytes(packed))


@pytest.mark.parametrize(
    "message",
    [
        WorkerJoined(3),
        WorkerLost(0, "no heartbeat for 10 s"),
        WorkerEnded(1, "died in step 4"),
        WorkerEnded(1, None),
        Note('ä \\ "'),
        RunEnded(steps=9),
        RunEnded(steps=9, layers=(1, 2**64 - 1), resent=((0, 7), (2, 1))),
        StepDiverged(steps=9, what="a weight", layer=3, rows=4, cost=math.inf),
        ViewEnded(steps=9, reasons=((1, "is gone"), (2, "sent rubbish")), damaged=(2,), layers=(5,)),
        ViewEnded(steps=9, reasons=(), damaged=()),
        WeightsDiffer(steps=9, difference=Difference(9, 2, (1,), 3), resent=((1, 1),)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_message_of_the_server_is_received_as_sent(message):
    decoded = decode(encode(message))
    assert type(decoded) is type(message)
    assert decoded == message


@pytest.mark.parametrize(
    "data",
    [
        b"[",
        b"\xff",
        b"{}",
        b"7",
        b"[]",
        b'["WorkerJoined"]',
        b'["WorkerJoined", 3]',
        b'["WorkerJoined", {}]',
        b'["WorkerJoined", {"worker": 3, "reason": ""}]',
        b'["WorkerLeft", {"worker": 3}]',
        b'["WeightsDiffer", {"steps": 3}]',
        b'["WeightsDiffer", {"steps": 3, "difference": [1, 2]}]',
        b'[["WorkerJoined"], {"worker": 3}]',
    ],
    ids=repr,
)
def test_damaged_message_of_the_server_gives_one_error(data):
    with pytest.raises(TrainingError, match=r"^cannot read the parameter server's message b'"):
        decode(data)


def test_end_of_a_run_names_the_step_that_diverged():
    assert ended_run(9, None) == RunEnded(steps=9)
    assert ended_run(9, StepRecord(8, 4, 1.0, 2)) == RunEnded(steps=9)
    record = StepRecord(9, 4, 1.5, 0, 0.0, Divergence("a weight", 3))
    ended = ended_run(9, record)
    assert isinstance(ended, StepDiverged)
    assert (ended.steps, ended.record) == (9, record)
    with pytest.raises(DivergedError, match=r"a weight of step 9 .* first in layer 3"):
        ended.check()
    RunEnded(steps=9).check()
