"""The two loops of a run on one host: the server's rounds and the worker's steps. The driver is in neither."""

from __future__ import annotations

import select
import socket
import time
from typing import NamedTuple

from distbp.data.dataset import Array
from distbp.data.order import Order
from distbp.errors import PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.exchange import Exchange
from distbp.parallel.messages import (
    DRIVER,
    GO,
    HELLO,
    RUN,
    Channel,
    connect,
    listen,
    look_before_sleeping,
    pack_done,
    pack_report,
    report_size,
    unpack_report,
)
from distbp.parallel.records import Report, StepRecord
from distbp.parallel.server import ParameterServer
from distbp.parallel.shards import Span, cut, subtrees
from distbp.parallel.worker import Worker

_LONGEST_WAIT = 1.0
"""Seconds after which a waiting server looks whether everybody still shows life."""


def beat_seconds(timeout: float) -> float:
    """Return how often a process shows life, so that several beats fall into a timeout."""
    return min(1.0, timeout / 8)


def work(worker: Worker, structure: Structure, exchange: Exchange, number: int, shards: int, timeout: float) -> None:
    """Compute what the server asks for until it is gone or says that all is done."""
    versions = [structure.parameters(version[0]) for version in exchange.states]
    slab = [structure.parameters(row) for row in exchange.slabs[number]]
    channel = connect(exchange.folder, number)
    try:
        with exchange.beating(number, beat_seconds(timeout)):
            while (message := channel.receive(GO.size)) is not None:
                step, first, stop = GO.unpack(message)
                held = Span(first, stop)
                report = worker.push(step, held, versions[step % 2], slab)
                channel.send(pack_report(step, report, shards))
                # While the server updates, the rows of the next step are brought along.
                worker.prefetch(step + 1, held)
                look_before_sleeping(channel.look)
    finally:
        channel.close()


class _Assignment(NamedTuple):
    """Who computes which shards of a step; the same in every step with as many shards."""

    held: list[tuple[Channel, Span]]
    gradients: dict[Span, Array]
    """The slabs' rows by the span whose sum they will hold."""


class Rounds:
    """The server's side: a round per step, in which every shard's gradient is collected and then applied."""

    def __init__(self, server: ParameterServer, exchange: Exchange, shards: int, timeout: float) -> None:
        self._server = server
        self._exchange = exchange
        self._order: Order
        self._shards = shards
        self._timeout = timeout
        self._listener = listen(exchange.folder)
        self._workers: list[Channel] = []
        self._assignments: dict[int, _Assignment] = {}
        self._poll = select.poll()
        self._numbers: dict[int, int] = {}

    def serve(self, order: Order) -> None:
        """Wait for everybody, then do the steps that the driver asks for, until it is gone.

        Raises:
            PeerLostError: a worker died or fell silent.
        """
        self._order = order
        with self._exchange.beating(self._exchange.shape.workers, beat_seconds(self._timeout)):
            driver = self._accept()
            try:
                while (message := driver.receive(RUN.size)) is not None:
                    self._server.step, stop = RUN.unpack(message)
                    self._exchange.step = self._server.step
                    last = self._run(stop)
                    driver.send(pack_done(self._server.step, last))
            finally:
                for channel in (driver, *self._workers):
                    channel.close()

    def _accept(self) -> Channel:
        """Return the driver's channel once it and every worker have connected."""
        channels: dict[int, Channel] = {}
        with self._listener:
            self._listener.settimeout(self._timeout)
            while len(channels) < self._exchange.shape.workers + 1:
                try:
                    connection = self._listener.accept()[0]
                    connection.settimeout(self._timeout)
                    hello = Channel(connection).receive(HELLO.size)
                    connection.settimeout(None)
                except TimeoutError as error:
                    missing = [n for n in range(self._exchange.shape.workers) if n not in channels]
                    who = " and ".join(_name(number) for number in missing) or "the driver"
                    raise PeerLostError(
                        f"no answer from {who} for {self._timeout:g} s at the start (--timeout)"
                    ) from error
                if hello is not None:
                    channels[HELLO.unpack(hello)[0]] = Channel(connection)
        driver = channels.pop(DRIVER)
        self._workers = [channels[number] for number in sorted(channels)]
        for number, channel in enumerate(self._workers):
            self._numbers[channel.fileno()] = number
            self._poll.register(channel, select.POLLIN)
        # The driver says nothing during the steps; what poll sees of it then is its end.
        self._poll.register(driver, select.POLLIN)
        return driver

    def _run(self, stop: int) -> StepRecord | None:
        """Do the steps up to before ``stop``, or to where the driver asks to stop; return the last record."""
        done = None
        while self._server.step < stop and not self._exchange.stop_asked[0]:
            began = time.perf_counter()
            step = self._server.step
            assignment = self._assign(min(self._shards, self._order.size(step)))
            for channel, (first, held_stop) in assignment.held:
                channel.send(GO.pack(step, first, held_stop))
            if done is not None:  # the books are kept while the workers compute
                self._exchange.write_record(done)
            reports = self._collect(step, assignment)
            done = self._server.update(step, reports, assignment.gradients, began)
            if done.divergence is not None:
                return done
            self._exchange.step = self._server.step
        if done is not None:
            self._exchange.write_record(done)
        return done

    def _assign(self, shards: int) -> _Assignment:
        """Return who computes which of so many shards, and where their sums will lie."""
        if shards not in self._assignments:
            self._assignments[shards] = self._make_assignment(shards)
        return self._assignments[shards]

    def _make_assignment(self, shards: int) -> _Assignment:
        held = list(zip(self._workers, cut(shards, len(self._workers)), strict=False))
        gradients = {
            span: row
            for number, (_, part) in enumerate(held)
            for span, row in zip(subtrees(part, shards), self._exchange.slabs[number], strict=False)
        }
        return _Assignment(held, gradients)

    def _collect(self, step: int, assignment: _Assignment) -> list[Report]:
        """Wait until all shards of the step have been reported."""
        reports: dict[int, Report] = {}
        size = report_size(self._shards)
        wait = 1000 * min(_LONGEST_WAIT, self._timeout / 4)
        while len(reports) < len(assignment.held):
            if reports:  # the others will not be long
                look_before_sleeping(lambda: bool(self._poll.poll(0)))
            ready = self._poll.poll(wait)
            for descriptor, _ in ready:
                if descriptor not in self._numbers:
                    raise PeerLostError(f"the driver died in step {step}")
                number = self._numbers[descriptor]
                message = self._workers[number].receive(size)
                if message is None:
                    raise PeerLostError(f"{_name(number)} died in step {step}")
                reported, report = unpack_report(message)
                if reported == step:  # a late answer to another step counts for nothing
                    reports[number] = report
            if not ready:
                self._check_silence(step, reports)
        return list(reports.values())

    def _check_silence(self, step: int, reports: dict[int, Report]) -> None:
        for number in range(len(self._workers)):
            if number not in reports and self._exchange.silence(number) > self._timeout:
                raise PeerLostError(
                    f"no answer from {_name(number)} for {self._timeout:g} s in step {step} (--timeout)"
                )


def _name(number: int) -> str:
    return f"worker {number} on host {socket.gethostname()}"
