"""Arbitrary bytes from a host of the run, with or without valid checksums: it is lost in time, with no other effect."""

import threading

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from parallel.clusters import SECRET, Cluster, view_of
from parallel.hosts import STRUCTURE, config
from processes import HANG_SECONDS, join, wait_until

from distbp.parallel.host.messages import StepDiverged, ViewEnded, WeightsDiffer
from distbp.parallel.mesh import handshake
from distbp.parallel.mesh.frames import HEARTBEAT, PART, REPORT, Frame
from distbp.parallel.mesh.step_exchange import HostReports, pack_host_reports
from distbp.parallel.step.layer_hashes import layer_hashes
from distbp.parallel.step.records import Divergence, Report
from distbp.parallel.step.reports import report_size
from distbp.parallel.step.shards import Span
from distbp.training.executors import initial_state

SHARDS, STEPS = 4, 3
RIGHT = layer_hashes(STRUCTURE, initial_state(STRUCTURE, config(SHARDS))[0])

numbers = st.floats(allow_nan=True, allow_infinity=True)
large = st.sampled_from([0, 1, 2, 3, 4, 255, 2**31, 2**32 - 1])
steps = st.sampled_from([-(2**63), -1, 0, 0, 0, 1, 2, 2**62])


@st.composite
def reports(draw):
    """Return reports that another host could send, with arbitrary contents."""
    any_span = st.tuples(st.integers(0, SHARDS), st.integers(0, SHARDS))
    span = Span(*draw(st.just((2, 4)) | any_span))
    count = max(0, span.stop - span.first)
    floats = tuple(draw(st.lists(numbers, min_size=count, max_size=count)))
    rows, right = draw(st.just(8) | st.sampled_from([-1, 0, 16, 2**40])), draw(st.integers(-1, 99))
    divergence = draw(st.none() | st.just(Divergence("a gradient", draw(st.integers(0, 9)))))
    report = Report(span, rows, floats, right, floats, floats, floats, divergence)
    layers = draw(st.just(RIGHT) | st.just((0,) * STRUCTURE.depth))
    told = HostReports([report] * draw(st.just(1) | st.integers(0, 2)), layers, draw(st.booleans()))
    body = bytearray(pack_host_reports(told, SHARDS))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(body) - 1))
        body[at] = draw(st.integers(0, 255))
    return bytes(body)


bodies = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([4 * STRUCTURE.parameter_count, 4 * 18, 4 * 35, report_size(SHARDS)]).map(bytes),
)


@st.composite
def messages(draw):
    """Return bytes for the connection: arbitrary ones, or a frame with valid checksums."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(min_size=1, max_size=120))
    kind = draw(st.sampled_from([HEARTBEAT, 1, 1, 2, 2, 2, 3, 4, 5, 255]))
    body = draw(reports()) if kind == REPORT and draw(st.booleans()) else draw(bodies)
    frame = Frame.of(kind, draw(steps), draw(large), draw(large), draw(numbers), memoryview(body))
    return frame.header() + (body if kind != HEARTBEAT else b"")


class Escaped(list):
    """The errors that ended threads."""

    def __call__(self, args):
        self.append(f"{args.exc_type.__name__}: {args.exc_value}")


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    sent=st.lists(messages(), max_size=4),
    servers=st.sampled_from([0, 1, 2]),
    begins_well=st.booleans(),
    report=st.none() | reports(),
)
def test_any_bytes_end_the_connection_in_time(sent, servers, begins_well, report):
    if begins_well:  # all missing sums, and perhaps a report, so that they are used
        body = bytes(4 * STRUCTURE.parameter_count)
        sent.insert(0, Frame.of(PART, 0, 0, 1, 1.0, memoryview(body)).header() + body)
        servers = 0
    if report is not None:
        sent.insert(0, Frame.of(REPORT, 0, 0, 0, 1.0, memoryview(report)).header() + report)
    set_up = config(SHARDS)
    here, escaped, before = Cluster((1,), set_up), Escaped(), threading.excepthook
    threading.excepthook = escaped
    try:
        view = view_of(here.hosts, (1,), set_up)
        view = view._replace(addresses=(*view.addresses, ("127.0.0.1", 1)), workers=(1, 1), servers=servers)
        meeting = threading.Thread(target=here.hosts[0].join_view, args=(view, 0, 0, SECRET))
        meeting.start()
        liar = handshake.connect(here.hosts[0].address, SECRET, 1, 1, 0, HANG_SECONDS)
        join(meeting)
        here.hosts[0].run(0, STEPS, 1.0)
        with liar:
            for each in sent:
                try:
                    liar.sendall(each)
                except OSError:  # the connection is closed
                    break
            if begins_well and report is not None:  # the step has everything it needs: it completes or fails
                wait_until(lambda: here.hosts[0].memory.step or here.hosts[0]._link._poll.poll(0))
        ended, _ = here.wait(here.hosts[0])
        event(f"{type(ended).__name__} after {ended.steps} steps")
        if isinstance(ended, ViewEnded):
            assert [number for number, _ in ended.reasons] == [1]
        else:
            assert isinstance(ended, StepDiverged | WeightsDiffer)
        assert ended.steps <= begins_well  # a report without a detectable mistake counts
        if not ended.steps:
            assert np.array_equal(here.hosts[0].state(0), here.initial)
        assert not escaped
    finally:
        threading.excepthook = before
        here.close()
