"""Hosts that exchange sums over real TCP sockets, with workers as threads: the bits of one process."""

import numpy as np
import pytest
from parallel.clusters import STEPS, alone, view_of
from parallel.hosts import STRUCTURE, config
from processes import wait_until

from distbp.parallel.mesh.chunks import chunks_of, sending_order
from distbp.parallel.mesh.view import servers_for
from distbp.training.executors import initial_state


@pytest.mark.parametrize("workers", [(1, 1), (2, 1), (1, 1, 1), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("shards", [1, 2, 5, 8])
def test_hosts_give_the_bits_of_one_process(cluster, workers, shards):
    settings = config(shards, optimizer="adam", clip_norm=0.5)
    here = cluster(workers, settings)
    assert not any(here.join_view(view_of(here.hosts, workers, settings)).values())
    here.run(0, STEPS)
    records, state = alone(settings)
    for host in here.hosts:
        ended, told = here.wait(host)
        assert ended.steps == STEPS
        assert np.array_equal(host.state(STEPS), state)
        assert [(r.step, r.cost, r.rows, r.right, r.layers) for r in told] == [
            (r.step, r.cost, r.rows, r.right, r.layers) for r in records
        ]


@pytest.fixture(params=[3, 7, 1000])
def chunk(request, monkeypatch):
    """Make chunks as small as this network needs, and measure products only briefly."""
    monkeypatch.setattr("distbp.parallel.mesh.factors._MEASURED_SECONDS", 0.001)
    monkeypatch.setattr("distbp.parallel.mesh.chunks.CHUNK", request.param)
    return request.param


@pytest.mark.parametrize("hosts", [2, 3])
@pytest.mark.parametrize("servers", [1, 2, 3])
def test_chunks_cover_all_parameters_once_from_the_last_layer_on(chunk, hosts, servers):
    del chunk
    bounds = STRUCTURE.bounds
    chunks = chunks_of(bounds, servers_for(servers, hosts))
    places = sorted((chunk.params.start, chunk.params.stop) for chunk in chunks)
    assert places[0][0] == 0
    assert [stop for _, stop in places[:-1]] == [start for start, _ in places[1:]]
    assert places[-1][1] == bounds[-1]
    assert all(chunk.params.start >= bounds[chunk.layer] for chunk in chunks)
    for here in range(hosts):
        order = sending_order(chunks, servers, here)
        assert sorted(order) == list(range(len(chunks)))
        layers = [chunks[number].layer for number in order]
        assert layers == sorted(layers, reverse=True)


@pytest.mark.parametrize("workers", [(1, 1), (2, 1, 1)], ids=str)
@pytest.mark.parametrize("servers", [None, 1, 3])
def test_chunks_of_any_size_give_the_same_bits(cluster, chunk, workers, servers):
    del chunk
    settings = config(shards=8)
    here = cluster(workers, settings)
    here.join_view(view_of(here.hosts, workers, settings, servers=servers))
    here.run(0, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


@pytest.mark.parametrize("workers", [(1, 1), (3, 1), (1, 2, 1), (1, 1, 0)], ids=str)
@pytest.mark.parametrize("layers", [[0], [1], [0, 1]], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_layers_exchanged_as_factors_give_the_same_bits(cluster, chunk, workers, layers, dropout):
    del chunk
    settings = config(shards=8, dropout=dropout)
    here = cluster(workers, settings)
    here.join_view(view_of(here.hosts, workers, settings)._replace(measures=True))
    assert all(host.rates().bytes_per_second > 0 for host in here.hosts)
    for host in here.hosts:
        host.agree(layers)
    here.run(0, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


@pytest.mark.parametrize("servers", [1, 2])
def test_any_number_of_servers_gives_the_same_bits(cluster, servers):
    settings = config(shards=4)
    here = cluster((1, 1, 1), settings)
    here.join_view(view_of(here.hosts, (1, 1, 1), settings, servers=servers))
    here.run(0, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


def test_a_lost_host_is_named_and_the_others_continue_with_the_same_bits(cluster):
    settings = config(4)
    here = cluster((1, 1, 1), settings)
    here.join_view(view_of(here.hosts, (1, 1, 1), settings))
    here.run(0, 4)
    for host in here.hosts:
        here.wait(host)
    gone = here.hosts.pop(1)
    gone.run(4, STEPS, 1.0)
    here.run(4, STEPS)
    gone.close()
    steps = []
    for host in here.hosts:
        ended, _ = here.wait(host, 4)
        assert [number for number, _ in ended.reasons] == [1]
        steps.append(ended.steps)
    first = min(steps)
    assert not any(here.join_view(view_of(here.hosts, (1, 1), settings, number=2), first).values())
    here.run(first, STEPS)
    for host in here.hosts:
        assert here.wait(host)[0].steps == STEPS
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


def test_a_host_that_joins_continues_from_the_state_of_another(cluster):
    settings = config(4)
    here = cluster((1,), settings)
    here.join_view(view_of(here.hosts, (1,), settings))
    here.run(0, 5)
    here.wait(here.hosts[0])
    here.add(1, here.hosts[0].state(5), 5)
    here.join_view(view_of(here.hosts, (1, 1), settings, number=2), 5)
    here.run(5, STEPS)
    for host in here.hosts:
        here.wait(host)
        assert np.array_equal(host.state(STEPS), alone(settings)[1])


def test_only_the_first_host_decides_after_which_step_all_stop(cluster):
    settings = config(4)
    here = cluster((1, 1), settings)
    here.join_view(view_of(here.hosts, (1, 1), settings))
    here.run(0, 10**6)
    here.hosts[1].halt()
    wait_until(lambda before=here.hosts[0].memory.step: here.hosts[0].memory.step > before + 20)
    here.hosts[0].halt()
    done = {here.wait(host)[0].steps for host in here.hosts}
    assert len(done) == 1
    assert done.pop() > 0


def test_float16_halves_the_bytes_and_stays_close(cluster):
    settings = config(4, lr=0.1, optimizer="sgd")
    sent, states = {}, {}
    for wire in ("exact", "float16"):
        here = cluster((1, 1), settings)
        here.join_view(view_of(here.hosts, (1, 1), settings, wire=wire))
        before = sum(host.bytes_sent for host in here.hosts)
        here.run(0, STEPS)
        for host in here.hosts:
            here.wait(host)
        states[wire] = here.hosts[0].state(STEPS)
        assert np.array_equal(states[wire], here.hosts[1].state(STEPS))
        sent[wire] = sum(host.bytes_sent for host in here.hosts) - before
    moved = np.abs(states["exact"][0] - initial_state(STRUCTURE, settings)[0]).max()
    assert 0 < np.abs(states["exact"] - states["float16"]).max() < 0.01 * moved
    assert sent["float16"] < sent["exact"] - STEPS * STRUCTURE.parameter_count * 2
