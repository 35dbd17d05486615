"""The division of work among hosts: shards, and the layers that are exchanged as factors."""

from distbp.nn.structure import Structure
from distbp.parallel.mesh.chunks import chunks_of, sending_order
from distbp.parallel.mesh.cost import Rates, choose_factored_layers
from distbp.parallel.mesh.view import View
from distbp.parallel.step.factor_store import factorable_layers
from distbp.parallel.step.shards import Span


def test_factors_are_chosen_if_they_make_a_step_shorter():
    wide = Structure((784, 2048, 2048, 10), ("relu", "relu", "softmax"), "cross-entropy")
    assert factorable_layers(wide, 64) == [0, 1]
    assert factorable_layers(wide, 4096) == []
    slow, fast, quick = 125e6, 125e9, {0: 1e-3, 1: 2e-3}

    def chosen(link, products, rows=64, shards=2, hosts=2):
        return choose_factored_layers(
            wide, rows, shards, hosts, 4, [Rates(link, products), Rates(fast, {0: 0.0, 1: 0.0})]
        )

    assert chosen(slow, quick) == [0, 1]
    assert chosen(fast, quick) == []
    assert chosen(slow, {0: 1.0, 1: 2e-3}) == [1]
    # 64 rows of 2048 + 2048 numbers are an eighth of what 2048 x 2048 + 2048 numbers cost each of two links; a step
    # takes the longer of transfer and reconstruction, and half of the shorter
    all_sums = wide.parameter_count * 4 / slow
    with_factors = all_sums - (2048 * 2049 - 64 * 4096) * 4 / slow
    worth = all_sums - with_factors / 2
    assert chosen(slow, {1: 0.99 * worth}) == [1]
    assert chosen(slow, {1: 1.01 * worth}) == []


def test_factors_as_measured_with_three_hosts_at_one_gigabit():
    wide = Structure((784, 2048, 2048, 10), ("relu", "relu", "softmax"), "cross-entropy")
    rates = [Rates(121e6, {0: 0.033, 1: 0.085})] * 3
    # ms per step without factors, with those of layer 0, of layer 1, of both: 450, 470, 426, 512
    assert choose_factored_layers(wide, 334, 3, 3, 4, rates) == [1]


def test_every_shard_has_one_host_and_a_host_may_have_none():
    for shards in range(1, 9):
        view = View(1, (("a", 1),) * 3, (2, 0, 3), 3, 8, "exact", 1.0)
        spans = [view.span(host, shards) for host in range(3)]
        covered = [shard for span in spans for shard in range(span.first, span.stop)]
        assert covered == list(range(shards))
        assert spans[1] == Span(shards, shards)


def test_each_host_sends_to_the_next_server_first():
    """So each server's link receives one host's sums at a time, and no host waits for all others."""
    for hosts in (3, 4, 5):
        chunks = chunks_of((0, 600_000), hosts)
        orders = [[chunks[number].server for number in sending_order(chunks, hosts, here)] for here in range(hosts)]
        assert [order[0] for order in orders] == [*range(1, hosts), 0]
        for here, order in enumerate(orders):
            assert list(dict.fromkeys(order)) == [(here + 1 + way) % hosts for way in range(hosts)]
