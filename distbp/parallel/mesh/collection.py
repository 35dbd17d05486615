"""What has come of one step from all hosts, until it is complete."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

from distbp.data.dataset import Array
from distbp.parallel.mesh.peers import DamagedError
from distbp.parallel.mesh.view import Chunk, Node
from distbp.parallel.messages import pack_report, report_size, unpack_report
from distbp.parallel.records import Report
from distbp.parallel.shards import Span

_HEAD = struct.Struct("<?I")


class Collection:
    """One step's chunks and reports as they come in. Whoever changes it holds the mesh's lock."""

    def __init__(self, step: int, shards: int, nodes: Sequence[Node], chunks: Sequence[Chunk], here: int) -> None:
        self.step, self.shards, self.nodes = step, shards, nodes
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
        self.reports: dict[int, list[Report]] = {}
        self.ends = False
        """Whether the run's first host wants all to stop after this step."""

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

    def report(self, host: int, reports: Sequence[Report]) -> None:
        """Take in a host's reports.

        Raises:
            DamagedError: they are there already.
        """
        if host in self.reports:
            raise DamagedError(f"its report on step {self.step} twice")
        self.reports[host] = list(reports)

    def all_reports(self) -> list[Report]:
        """Return all hosts' reports, those of the first host first."""
        return [report for host in sorted(self.reports) for report in self.reports[host]]


def reports_as_bytes(reports: Sequence[Report], stop: bool, shards: int) -> bytes:
    """Return a host's reports, and whether it wants to stop, as bytes."""
    return _HEAD.pack(stop, len(reports)) + b"".join(pack_report(0, report, shards) for report in reports)


def reports_from_bytes(body: memoryview, shards: int) -> tuple[list[Report], bool]:
    """Return what :func:`reports_as_bytes` was given.

    Raises:
        DamagedError: that is not what the bytes are.
    """
    size = report_size(shards)
    if len(body) < _HEAD.size or len(body) != _HEAD.size + _HEAD.unpack_from(body)[1] * size:
        raise DamagedError(f"reports of {len(body)} bytes")
    try:
        reports = [unpack_report(bytes(body[at : at + size]))[1] for at in range(_HEAD.size, len(body), size)]
    except (struct.error, IndexError) as error:
        raise DamagedError("a report that cannot be read") from error
    return reports, bool(_HEAD.unpack_from(body)[0])
