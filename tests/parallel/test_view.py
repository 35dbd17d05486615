"""Who does what among hosts: shards, and the layers that travel as their factors."""

from distbp.nn.structure import Structure
from distbp.parallel.mesh.factors import Rates, candidates, choose
from distbp.parallel.mesh.view import View
from distbp.parallel.shards import Span


def test_factors_are_chosen_where_they_save_more_on_the_wire_than_their_products_cost():
    wide = Structure((784, 2048, 2048, 10), ("relu", "relu", "softmax"), "cross-entropy")
    assert candidates(wide, 64) == [0, 1]
    assert candidates(wide, 4096) == []
    slow, fast, quick = 125e6, 125e9, {0: 1e-3, 1: 2e-3}

    def chosen(link, products, rows=64, shards=2, hosts=2):
        return choose(wide, rows, shards, hosts, 4, [Rates(link, products), Rates(fast, {0: 0.0, 1: 0.0})])

    assert chosen(slow, quick) == [0, 1]
    assert chosen(fast, quick) == []
    assert chosen(slow, {0: 1.0, 1: 2e-3}) == [1]
    # 64 rows of 2048 + 2048 numbers are an eighth of what 2048 x 2048 + 2048 numbers cost each of two links
    saved = (2048 * 2049 - 64 * 4096) * 4 / slow
    assert chosen(slow, {1: 0.99 * saved}) == [1]
    assert chosen(slow, {1: 1.01 * saved}) == []


def test_every_shard_is_some_hosts_and_some_hosts_may_have_none():
    for shards in range(1, 9):
        view = View(1, (("a", 1),) * 3, (2, 0, 3), 3, 8, "exact", 1.0)
        spans = [view.span(host, shards) for host in range(3)]
        covered = [shard for span in spans for shard in range(span.first, span.stop)]
        assert covered == list(range(shards))
        assert spans[1] == Span(shards, shards)
