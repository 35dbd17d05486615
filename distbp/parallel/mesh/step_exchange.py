"""What has come of one step from all hosts, until it is complete."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from distbp.data.dataset import Array
from distbp.parallel.mesh.frames import DamagedError, Frame
from distbp.parallel.mesh.view import Chunk, Node
from distbp.parallel.step.records import Report
from distbp.parallel.step.reports import pack_report, report_size, unpack_report
from distbp.parallel.step.shards import Span

_HEAD = struct.Struct("<?I")


class HostReports(NamedTuple):
    """What a host says of a step, beside its sums."""

    reports: Sequence[Report]
    """Its workers'."""
    layers: Sequence[int]
    """The hashes of its weights before the step."""
    stop: bool
    """Whether it wants all to stop after this step."""


class StepExchange:
    """One step's chunks and reports as they come in. Whoever changes it holds the mesh's lock."""

    def __init__(
        self, step: int, parts: Sequence[Span], nodes: Sequence[Node], chunks: Sequence[Chunk], here: int
    ) -> None:
        """``parts`` are the rows of each of the step's shards."""
        self.step, self.shards, self.nodes = step, len(parts), nodes
        self._rows = parts
        self.pushed = 0
        """How many chunks this host has sent."""
        self.parts: dict[int, dict[Span, Array]] = {
            number: {} for number, chunk in enumerate(chunks) if chunk.server in (None, here)
        }
        """The sums that are there of each chunk that this host adds up."""
        self.open = set(range(len(chunks)))
        """Chunks whose total is not there yet."""
        self.unsent = 0
        """This host's sums that are still on their way out."""
        self.apply: Callable[[slice, Array], None] | None = None
        """Takes each total as soon as it is there."""
        self.told: dict[int, HostReports] = {}
        self.sent: dict[tuple[float, int, int], tuple[Frame, memoryview]] = {}
        """What this host has sent, by kind, chunk and node."""

    def is_complete(self, hosts: int) -> bool:
        """Whether all has come of so many hosts, and all that this one has told is on its way."""
        return not self.open and not self.unsent and len(self.told) == hosts

    def part(self, number: int, span: Span, numbers: Array, needed: int) -> Mapping[Span, Array] | None:
        """Take in one sum of a chunk; return all of them once as many as are needed are there.

        Raises:
            DamagedError: it is there already.
        """
        parts = self.parts[number]
        if span in parts:
            raise DamagedError(f"shards {span.first} to {span.stop - 1} of chunk {number} twice")
        parts[span] = numbers
        return parts if len(parts) == needed else None

    def report(self, host: int, told: HostReports, held: Span) -> None:
        """Take in what a host says that has these shards.

        Raises:
            DamagedError: it is there already, or of other shards.
        """
        if host in self.told:
            raise DamagedError(f"its report on step {self.step} twice")
        first = held.first
        for report in sorted(told.reports, key=lambda report: report.span):
            if report.span.first != first or not first < report.span.stop <= held.stop:
                raise DamagedError(f"a report on shards {report.span.first} to {report.span.stop - 1}, not its own")
            first = report.span.stop
        rows = sum(part.stop - part.first for part in self._rows[held.first : held.stop])
        if first != held.stop or sum(report.rows for report in told.reports) != rows:
            raise DamagedError(f"reports on some of the shards {held.first} to {held.stop - 1} alone")
        self.told[host] = told

    def all_reports(self) -> list[Report]:
        """Return all hosts' reports, those of the first host first."""
        return [report for host in sorted(self.told) for report in self.told[host].reports]


def pack_host_reports(told: HostReports, shards: int) -> bytes:
    """Return what a host says as bytes."""
    layers = struct.pack(f"<{len(told.layers)}Q", *told.layers)
    head = _HEAD.pack(told.stop, len(told.reports)) + layers
    return head + b"".join(pack_report(report, shards) for report in told.reports)


def unpack_host_reports(body: memoryview, layers: int, shards: int) -> HostReports:
    """Return what :func:`pack_host_reports` was given, of a network of so many layers.

    Raises:
        DamagedError: that is not what the bytes are.
    """
    size, head = report_size(shards), _HEAD.size + 8 * layers
    if len(body) < head or len(body) != head + _HEAD.unpack_from(body)[1] * size:
        raise DamagedError(f"reports of {len(body)} bytes")
    try:
        reports = [unpack_report(bytes(body[at : at + size])) for at in range(head, len(body), size)]
    except (struct.error, IndexError) as error:
        raise DamagedError("a report that cannot be read") from error
    return HostReports(reports, struct.unpack_from(f"<{layers}Q", body, _HEAD.size), bool(body[0]))
