"""The cost model of a step on several hosts: its limits; its bytes and messages compared with the exchange."""

from collections import Counter

import numpy as np
import pytest

from distbp.config import Config
from distbp.parallel.mesh.chunks import chunks_of
from distbp.parallel.mesh.cost import (
    FITTED,
    Costs,
    Machine,
    Workload,
    estimate_step,
    fastest_step,
    host_counts,
    largest_worthwhile,
)
from distbp.parallel.mesh.traffic import traffic_of_factors, traffic_of_sums
from distbp.parallel.mesh.view import View, nodes_of, servers_for
from distbp.planning.bench import CASES
from distbp.planning.hosts import measure_machine, plan_hosts, workload_of
from distbp.training.executors import initial_state
from distbp.training.setup import settle

BOUNDS = (0, 401_920, 664_576, 669_706)
"""The layer bounds of 784-512-512-10."""
MACHINE = Machine(shard=0.010, addition=0.0003, update=0.001)
FREE = Costs(0.0, 0.0, 0.0, 0.0)
GBIT = 1e9 / 8


def job(shards: int = 4, **changed: object) -> Workload:
    return Workload(1024, BOUNDS, shards, 4)._replace(**changed)  # type: ignore[arg-type]


def servers_of(hosts: int) -> int:
    return servers_for(None, hosts) if hosts > 1 else 0


def test_one_host_has_no_wire() -> None:
    for link in (1.0, GBIT):
        step = estimate_step(job(), MACHINE, link, hosts=1, servers=0)
        assert (step.link_bytes, step.messages, step.wire_seconds) == (0, 0, 0.0)
        assert step.seconds == pytest.approx(4 * 0.010 + 3 * 0.0003 + 0.001)
        assert step.compute_seconds == pytest.approx(step.seconds)


@pytest.mark.parametrize("hosts", [2, 3, 4, 7, 64])
def test_an_infinite_link_and_free_messages_leave_the_arithmetic(hosts: int) -> None:
    step = estimate_step(job(64), MACHINE, np.inf, hosts, servers_of(hosts), costs=FREE)
    assert step.seconds == pytest.approx(step.compute_seconds)
    shards = -(-64 // hosts)
    assert step.compute_seconds == pytest.approx(shards * 0.010 + (shards - 1) * 0.0003 + 0.001)


@pytest.mark.parametrize("hosts", [2, 3, 5, 16, 200])
def test_a_quicker_link_is_never_slower(hosts: int) -> None:
    rates = np.geomspace(1e5, 1e12, 50)
    times = [estimate_step(job(16), MACHINE, rate, hosts, servers_of(hosts)).seconds for rate in rates]
    assert times == sorted(times, reverse=True)
    assert times[0] > 10 * times[-1]


@pytest.mark.parametrize("hosts", [2, 3, 5, 16])
def test_the_exchange_overlaps_at_most_with_backpropagation(hosts: int) -> None:
    for link in (1e6, 1e8, 1e10):
        step = estimate_step(job(16), MACHINE, link, hosts, servers_of(hosts), costs=FREE)
        assert max(step.compute_seconds, step.wire_seconds) <= step.seconds
        assert step.seconds <= step.compute_seconds + step.wire_seconds


def test_on_a_slow_link_the_last_layers_exchange_overlaps_and_the_firsts_does_not() -> None:
    step = estimate_step(job(2), MACHINE, GBIT, hosts=2, servers=0, costs=FREE)
    first = BOUNDS[1] / BOUNDS[-1] * step.wire_seconds
    before_update = step.compute_seconds - MACHINE.update
    assert before_update + first <= step.seconds < before_update + step.wire_seconds


@pytest.mark.parametrize("hosts", [3, 4, 5, 8, 32, 256])
def test_on_a_slow_link_one_server_per_host_is_best(hosts: int) -> None:
    best = fastest_step(job(hosts), MACHINE, GBIT, hosts, costs=FREE)
    assert best.servers == hosts
    with_less = [estimate_step(job(hosts), MACHINE, GBIT, hosts, servers, costs=FREE) for servers in range(1, hosts)]
    assert all(best.seconds < step.seconds for step in with_less)


def test_a_given_number_of_servers_is_used() -> None:
    assert fastest_step(job(), MACHINE, GBIT, 4, servers=2).servers == 2
    assert fastest_step(job(), MACHINE, GBIT, 4, servers=9).servers == 4
    assert fastest_step(job(), MACHINE, GBIT, 2).servers == 0


@pytest.mark.parametrize("per_host", [1, 2])
@pytest.mark.parametrize("shards", [1, 4, 7, 8])
@pytest.mark.parametrize(("hosts", "servers"), [(2, 0), (2, 1), (2, 2), (3, 3), (4, 2), (5, 5), (9, 3)])
def test_the_predicted_traffic_is_that_of_the_exchange(hosts: int, servers: int, shards: int, per_host: int) -> None:
    """Count the bytes that each host sends and receives, message by message, as Mesh does."""
    view = View(1, (("", 0),) * hosts, (per_host,) * hosts, servers, shards, "exact", 1.0)
    sent, received, messages = Counter[int](), Counter[int](), Counter[int]()

    def send(start: int, end: int, numbers: int) -> None:
        sent[start] += numbers
        received[end] += numbers
        messages.update((start, end))

    for chunk in chunks_of(BOUNDS, servers):
        size = chunk.params.stop - chunk.params.start
        for node in nodes_of(view, shards):
            for end in range(hosts):
                if end != node.host and chunk.server in (None, end):
                    send(node.host, end, size)
        if chunk.server is not None:
            for end in set(range(hosts)) - {chunk.server}:
                send(chunk.server, end, size)
    load = traffic_of_sums(BOUNDS, shards, hosts, servers, per_host)
    assert load.link_numbers == max([*sent.values(), *received.values()])
    assert load.numbers == max(sent[host] + received[host] for host in range(hosts))
    assert load.messages == max(messages[host] for host in range(hosts))
    step = estimate_step(job(shards), MACHINE, GBIT, hosts, servers, per_host)
    assert step.messages == pytest.approx(load.messages + 2 * (hosts - 1), abs=1)  # and the reports
    assert step.link_bytes == pytest.approx(4 * load.link_numbers, abs=4)


@pytest.mark.parametrize("per_host", [1, 2])
@pytest.mark.parametrize(("hosts", "shards"), [(2, 2), (2, 7), (3, 12), (4, 5), (9, 4)])
def test_the_predicted_traffic_of_factors_is_that_of_the_exchange(hosts: int, shards: int, per_host: int) -> None:
    view = View(1, (("", 0),) * hosts, (per_host,) * hosts, servers_of(hosts), shards, "exact", 1.0)
    counts = [span.stop - span.first for span in (view.span(host, shards) for host in range(hosts))]
    sent = [(hosts - 1) * count for count in counts]
    received = [shards - count for count in counts]
    load = traffic_of_factors(100, shards, hosts, per_host)
    assert load.link_numbers == 100 * max(*sent, *received)
    assert load.messages == max(map(sum, zip(sent, received, strict=True)))
    assert load.numbers == 100 * load.messages


@pytest.mark.parametrize("factored", [(0,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("hosts", [2, 4, 16])
def test_a_step_with_factors_sends_the_messages_of_both_kinds(hosts: int, factored: tuple[int, ...]) -> None:
    chunks = chunks_of(BOUNDS, servers_of(hosts), factored)
    pieces = sum(not chunk.is_factored for chunk in chunks)
    mine = -(-pieces // hosts) if hosts > 2 else 0
    # One shard each: a sum of every chunk of others and its total, the sums of one's own chunks and their totals.
    sums = 2 * (pieces - mine) + 2 * (hosts - 1) * mine if hosts > 2 else 2 * pieces
    step = estimate_step(job(hosts, factors=(1, 1, 1)), MACHINE, GBIT, hosts, servers_of(hosts), factored=factored)
    assert step.messages == sums + 2 * (hosts - 1) * (len(factored) + 1)


def test_layers_travel_as_factors_where_the_link_is_slow_and_the_products_are_quick() -> None:
    factors = (100_000, 300_000, 2_000)  # the second layer has more of them than parameters
    by_link = {link: fastest_step(job(4, factors=factors), MACHINE, link, 2, costs=FREE) for link in (1e6, 1e12)}
    assert {link: step.factored for link, step in by_link.items()} == {1e6: (0, 2), 1e12: ()}
    without = fastest_step(job(4), MACHINE, 1e6, 2, costs=FREE)
    assert by_link[1e6].seconds < without.seconds
    assert by_link[1e6].link_bytes == 4 * (2 * (100_000 + 2_000) + BOUNDS[2] - BOUNDS[1])
    idle = MACHINE._replace(shard=10.0)
    assert fastest_step(job(4, factors=factors), idle, 1e6, 2, costs=FREE).factored == ()


def test_hosts_beyond_the_shards_do_not_help() -> None:
    at_most = estimate_step(job(4), MACHINE, np.inf, 4, 4)
    more = estimate_step(job(4), MACHINE, np.inf, 8, 8)
    assert more.compute_seconds == at_most.compute_seconds
    assert more.seconds > at_most.seconds
    assert fastest_step(job(4), MACHINE, np.inf, 2, per_host=2, costs=FREE).compute_seconds == at_most.compute_seconds


def test_half_the_bytes_take_half_the_time_on_the_link() -> None:
    whole = estimate_step(job(), MACHINE, GBIT, 4, 4)
    half = estimate_step(job(wire_bytes=2, is_packed=True), MACHINE, GBIT, 4, 4)
    assert half.wire_seconds == whole.wire_seconds / 2
    assert half.link_bytes * 2 == whole.link_bytes


def test_the_cost_of_messages_limits_the_gain() -> None:
    steps = [fastest_step(job(1024), MACHINE, 1e12, hosts) for hosts in host_counts(1, 1024)]
    reached = largest_worthwhile(steps)
    assert 1 < reached.hosts < 1024
    assert steps[-1].seconds > reached.seconds


def test_a_small_gain_on_the_way_to_a_large_one_does_not_end_it() -> None:
    step = estimate_step(job(), MACHINE, GBIT, 1, 0)
    steps = [step._replace(hosts=hosts, seconds=ms) for hosts, ms in ((1, 10.0), (2, 9.5), (4, 6.0), (8, 5.9))]
    assert largest_worthwhile(steps).hosts == 4
    assert largest_worthwhile(steps[:1]).hosts == 1


def test_costs_scale_as_seconds() -> None:
    assert all(0 < cost < 0.01 for cost in FITTED)


def test_the_measured_parts_add_up_to_a_step(digits) -> None:
    config, structure = settle(Config(batch_size=256, workers=0), digits, None)
    state = initial_state(structure, config)
    before = state.copy()
    machine = measure_machine(structure, config, digits.train, state, 4, 0.05)
    assert (state == before).all()
    assert 0 < machine.addition < machine.shard
    assert machine.update > 0
    assert workload_of(config, structure, 256, 4).wire_bytes == 4
    lossy = Config(batch_size=256, wire="float16", dtype="float64")
    assert workload_of(lossy, structure, 256, 4)[3:] == (2, True, ())


def test_speed_ups_are_relative_to_one_worker_with_the_default_shards(digits, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(
        structure: object, config: Config, rows: object, state: object, shards: int, seconds: float
    ) -> Machine:
        return Machine(shard=100e-6 + 1e-6 * config.batch_size / shards, addition=2e-6, update=20e-6)

    monkeypatch.setattr("distbp.planning.hosts.measure_machine", measured)
    plan = plan_hosts(Config(batch_size=256, shards=64), digits, [1, 64, 128], GBIT)
    assert (plan.shards, plan.alone_shards, plan.useful_hosts, plan.rows) == (64, 4, 64, 256)
    assert plan.alone_seconds == pytest.approx(4 * 164e-6 + 3 * 2e-6 + 20e-6)
    assert plan.steps[0].seconds == pytest.approx(64 * 104e-6 + 63 * 2e-6 + 20e-6)
    everything = plan_hosts(CASES["mnist"].config(0, batch_size=10**6, shards=10**6), digits, [2], GBIT)
    assert (everything.rows, everything.shards) == (len(digits.train),) * 2
