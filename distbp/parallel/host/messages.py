"""The messages between driver, server and workers of one host, and their encoding.

Arrays stay in shared memory; a message says which of them may be read. A worker sends its report after it has written
the last byte of its slab rows, and the server sends its next orders after it has written the last byte of the new
weights. So no process reads what a dead or slow one has written only in part.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, NamedTuple

from distbp.errors import TrainingError, brief
from distbp.parallel.host.channel import Channel
from distbp.parallel.mesh.agreement import Difference
from distbp.parallel.step.records import Divergence, Report, StepRecord
from distbp.parallel.step.reports import pack_report, report_size, unpack_report
from distbp.parallel.step.shards import Span

ORDER = struct.Struct("<qqIIII")
"""Server to worker, a task: step, round, shards [first, stop), first slab row, factor buffer."""

NO_ROUND = -1
"""The round number in FINISHED."""

FINISHED = ORDER.pack(0, NO_ROUND, 0, 0, 0, 0)
"""Server to worker: there are no more tasks."""

RUN = struct.Struct("<qqd")
"""Driver to server: first step, the step to stop before, factor of the step size."""

_HEAD = struct.Struct("<Bq")
_LAYER_DONE = struct.Struct("<III")
_REPORT_KIND, _LAYER_DONE_KIND = 1, 2


class WorkerReport(NamedTuple):
    """Worker to server: the report on a task whose sums are in the worker's slab rows."""

    round: int
    report: Report


class LayerDone(NamedTuple):
    """Worker to server: the sums of these shards are final from ``layer`` (counted from 0) on."""

    round: int
    span: Span
    layer: int


@cache
def worker_message_size(shards: int) -> int:
    """Return the size of a worker's messages, which is the same for all of them."""
    return _HEAD.size + report_size(shards)


def pack_worker_message(message: WorkerReport | LayerDone, shards: int) -> bytes:
    """Return a worker's message as bytes, padded to :func:`worker_message_size`."""
    if isinstance(message, WorkerReport):
        return _HEAD.pack(_REPORT_KIND, message.round) + pack_report(message.report, shards)
    packed = _HEAD.pack(_LAYER_DONE_KIND, message.round) + _LAYER_DONE.pack(*message.span, message.layer)
    return packed.ljust(worker_message_size(shards), b"\0")


def unpack_worker_message(data: bytes) -> WorkerReport | LayerDone:
    """Return the message of :func:`pack_worker_message`.

    Raises:
        TrainingError: the bytes are no such message.
    """
    kind, number = _HEAD.unpack_from(data)
    try:
        if kind == _REPORT_KIND:
            return WorkerReport(number, unpack_report(data, _HEAD.size))
        if kind == _LAYER_DONE_KIND:
            first, stop, layer = _LAYER_DONE.unpack_from(data, _HEAD.size)
            return LayerDone(number, Span(first, stop), layer)
    except (struct.error, IndexError) as error:
        raise TrainingError(f"cannot read a worker's message of {len(data)} bytes: {error}") from error
    raise TrainingError(f"cannot read a worker's message: kind {kind} is unknown")


@dataclass(frozen=True)
class WorkerJoined:
    """Server to driver: a worker has connected."""

    worker: int


@dataclass(frozen=True)
class WorkerLost:
    """Server to driver: a worker no longer makes progress, so its process is being killed."""

    worker: int
    reason: str


@dataclass(frozen=True)
class WorkerEnded:
    """Server to driver: a worker's process has ended."""

    worker: int
    reason: str | None
    """Why it ended; None after WorkerLost, which has the reason."""


@dataclass(frozen=True)
class Note:
    """Server to driver: a text for the user."""

    text: str


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """Server to driver, the answer to RUN: all steps are done, or the driver requested a halt."""

    steps: int
    """Steps done, counted over the whole run."""
    layers: tuple[int, ...] = ()
    """A hash of each layer's weights, to compare with other hosts."""
    resent: tuple[tuple[int, int], ...] = ()
    """For each host whose messages arrived damaged: its number, and how many it sent again."""

    def check(self) -> None:
        """Raise DivergedError if a step diverged."""


@dataclass(frozen=True, kw_only=True)
class StepDiverged(RunEnded):
    """An answer to RUN: the step after ``steps`` diverged and was not applied."""

    what: str
    layer: int
    rows: int
    cost: float

    @property
    def record(self) -> StepRecord:
        """The record of the step that diverged."""
        return StepRecord(self.steps, self.rows, self.cost, 0, 0.0, Divergence(self.what, self.layer))

    def check(self) -> None:
        """Raise DivergedError."""
        self.record.check()


@dataclass(frozen=True, kw_only=True)
class ViewEnded(RunEnded):
    """An answer to RUN: the view has ended, because hosts were lost or because the driver ended it."""

    reasons: tuple[tuple[int, str], ...]
    """For each lost host: its number, and what happened."""
    damaged: tuple[int, ...]
    """Numbers of the hosts that count as lost only because a message arrived damaged."""


@dataclass(frozen=True, kw_only=True)
class WeightsDiffer(RunEnded):
    """An answer to RUN: the hosts have different weights."""

    difference: Difference


Event = WorkerJoined | WorkerLost | WorkerEnded | Note
ServerMessage = Event | RunEnded

_KINDS: dict[str, type[ServerMessage]] = {
    kind.__name__: kind
    for kind in (WorkerJoined, WorkerLost, WorkerEnded, Note, RunEnded, StepDiverged, ViewEnded, WeightsDiffer)
}


def ended_run(steps: int, last: StepRecord | None) -> RunEnded:
    """Return the answer to RUN after ``steps`` steps; ``last`` is the last record, perhaps of a diverged step."""
    if last is None or last.divergence is None:
        return RunEnded(steps=steps)
    return StepDiverged(steps=steps, **last.divergence._asdict(), rows=last.rows, cost=last.cost)


def encode(message: ServerMessage) -> bytes:
    """Return a message of the server as bytes."""
    return json.dumps([type(message).__name__, asdict(message)]).encode()


def decode(data: bytes) -> ServerMessage:
    """Return the message that :func:`encode` was given.

    Raises:
        TrainingError: the bytes are no such message.
    """
    try:
        name, fields = json.loads(data)
        fields = {field: _with_tuples(value) for field, value in fields.items()}
        if name == WeightsDiffer.__name__:
            fields["difference"] = Difference(*fields["difference"])
        return _KINDS[name](**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"cannot read the parameter server's message {brief(data)}") from error


def _with_tuples(value: Any) -> Any:
    """Replace the lists of a JSON value by tuples."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def send_message(channel: Channel, message: ServerMessage) -> None:
    """Send a message from the server to the driver."""
    channel.send_sized(encode(message))


def receive_message(channel: Channel) -> ServerMessage | None:
    """Return the server's next message, or None at once if none has arrived.

    Raises:
        EOFError: the server has closed the channel.
        TrainingError: the message cannot be read.
    """
    data = channel.take_sized()
    if data is None:
        raise EOFError("the parameter server has closed its channel")
    return decode(data) if data else None
