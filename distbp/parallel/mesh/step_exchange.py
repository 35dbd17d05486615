"""The exchange of one step between hosts: the sums and reports that have arrived so far."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from distbp.data.dataset import Array
from distbp.data.epoch_order import EpochOrder
from distbp.parallel.mesh.chunks import Chunk
from distbp.parallel.mesh.frames import DamagedError, Frame
from distbp.parallel.mesh.view import Node, View, nodes_of
from distbp.parallel.step.records import Report
from distbp.parallel.step.reports import pack_report, report_size, unpack_report
from distbp.parallel.step.shards import Span, cut

_HEAD = struct.Struct("<?I")


class HostReports(NamedTuple):
    """A host's message about a step, besides its sums."""

    reports: Sequence[Report]
    """The reports of the sending host's workers."""
    layer_hashes: Sequence[int]
    """The hashes of the sending host's layers before the step."""
    stop: bool
    """Whether the sending host asks all hosts to stop after this step."""


class StepExchange:
    """The sums and reports of one step as they arrive. Callers that change it hold the mesh's lock."""

    def __init__(
        self, step: int, parts: Sequence[Span], nodes: Sequence[Node], chunks: Sequence[Chunk], host: int
    ) -> None:
        """Start with no sums; ``parts`` holds the row range of each of the step's shards."""
        self.step, self.shards, self.nodes = step, len(parts), nodes
        self._rows = parts
        self.pushed = 0
        """Number of chunks that this host has sent."""
        self.sums: dict[int, dict[Span, Array]] = {
            number: {} for number, chunk in enumerate(chunks) if chunk.server in (None, host)
        }
        """The sums that have arrived, for each chunk that this host adds up."""
        self.open = set(range(len(chunks)))
        """Chunks whose total has not arrived yet."""
        self.unsent = 0
        """Number of this host's sums that are still being sent."""
        self.apply: Callable[[slice, Array], None] | None = None
        """Applies each total as soon as it has arrived."""
        self.reports: dict[int, HostReports] = {}
        self.sent: dict[tuple[float, int, int], tuple[Frame, memoryview]] = {}
        """The frames that this host has sent, by kind, chunk and node."""

    def is_complete(self, hosts: int) -> bool:
        """Return whether everything from ``hosts`` hosts has arrived and all that this host has queued is sent."""
        return not self.open and not self.unsent and len(self.reports) == hosts

    def add_sum(self, number: int, span: Span, numbers: Array, needed: int) -> Mapping[Span, Array] | None:
        """Add one sum of a chunk; return all its sums once ``needed`` of them have arrived, else None.

        Raises:
            DamagedError: this sum has arrived before.
        """
        sums = self.sums[number]
        if span in sums:
            raise DamagedError(f"shards {span.first} to {span.stop - 1} of chunk {number} twice")
        sums[span] = numbers
        return sums if len(sums) == needed else None

    def add_reports(self, host: int, message: HostReports, span: Span) -> None:
        """Add the reports of a host that computes the shards ``span``.

        Raises:
            DamagedError: its reports have arrived before, or are about other shards.
        """
        if host in self.reports:
            raise DamagedError(f"its report on step {self.step} twice")
        first = span.first
        for report in sorted(message.reports, key=lambda report: report.span):
            if report.span.first != first or not first < report.span.stop <= span.stop:
                raise DamagedError(f"a report on shards {report.span.first} to {report.span.stop - 1}, not its own")
            first = report.span.stop
        rows = sum(part.stop - part.first for part in self._rows[span.first : span.stop])
        if first != span.stop or sum(report.rows for report in message.reports) != rows:
            raise DamagedError(f"reports on only some of the shards {span.first} to {span.stop - 1}")
        self.reports[host] = message

    def all_reports(self) -> list[Report]:
        """Return the reports of all hosts, in the order of the hosts."""
        return [report for host in sorted(self.reports) for report in self.reports[host].reports]


class StepExchanges:
    """The exchanges of the current step, the next one and the previous one.

    Every step needs the reports of all hosts, so no host can be more than one step ahead of another.
    """

    def __init__(self, view: View, host: int, step: int, order: EpochOrder, lock: threading.Condition) -> None:
        self.step = step
        """The current step of this host."""
        self.chunks: Sequence[Chunk] = ()
        self._view, self._host, self._order, self._lock = view, host, order, lock
        self._open: dict[int, StepExchange] = {}
        self._previous: StepExchange | None = None
        """The last complete exchange: a host that is still in that step may request a frame again."""

    def at(self, step: int) -> StepExchange:
        """Return the exchange of the current or the next step."""
        exchange = self._open.get(step)
        if exchange is not None:
            return exchange
        parts = cut(self._order.size(step), self._view.shards)
        new = StepExchange(step, parts, nodes_of(self._view, len(parts)), self.chunks, self._host)
        with self._lock:  # another thread may have created the exchange meanwhile
            return self._open.setdefault(step, new)

    def incomplete(self, step: int) -> StepExchange:
        """Return the exchange of a step that is not complete yet."""
        return self._open[step]

    def find(self, step: int) -> tuple[StepExchange | None, bool]:
        """Return the exchange of a step, if it is still known, and whether it is the previous one."""
        if self._previous is not None and self._previous.step == step:
            return self._previous, True
        return self._open.get(step), False

    def complete(self) -> None:
        """Make the next step the current one."""
        self._previous = self._open.pop(self.step)
        self.step += 1


def pack_host_reports(message: HostReports, shards: int) -> bytes:
    """Return a host's reports as bytes."""
    hashes = struct.pack(f"<{len(message.layer_hashes)}Q", *message.layer_hashes)
    head = _HEAD.pack(message.stop, len(message.reports)) + hashes
    return head + b"".join(pack_report(report, shards) for report in message.reports)


def unpack_host_reports(body: memoryview, layers: int, shards: int) -> HostReports:
    """Return the reports that :func:`pack_host_reports` packed, for a network of ``layers`` layers.

    Raises:
        DamagedError: the bytes are no such reports.
    """
    size, head = report_size(shards), _HEAD.size + 8 * layers
    if len(body) < head or len(body) != head + _HEAD.unpack_from(body)[1] * size:
        raise DamagedError(f"reports of {len(body)} bytes")
    try:
        reports = [unpack_report(bytes(body[at : at + size])) for at in range(head, len(body), size)]
    except (struct.error, IndexError) as error:
        raise DamagedError("a report that cannot be read") from error
    return HostReports(reports, struct.unpack_from(f"<{layers}Q", body, _HEAD.size), bool(body[0]))
