"""What a step costs on several hosts: a model of the arithmetic, the links and the messages.

A step on N hosts with K servers is taken apart as follows. Every time is that of whoever has the most to do.

- **Compute.** A worker computes its shards one after the other, and adds each to those before it. What counts is the
  largest number of shards that a worker holds, so workers beyond the shards change nothing.
- **Bytes.** A host sends its sums of all parameters that others serve (one sum; more where its shards are no complete
  subtree), and the totals of those it serves to N - 1 others. With K = N and one sum each that is 2 (N - 1) / N times
  the parameters in each direction; with K < N a server's link carries more. With K = 0, where each of two hosts adds
  up for itself, each sends all it has.
- **Messages.** Every chunk goes to each peer that needs it, every report to all. Their number grows with N, whatever
  a link can carry: in the long run this ends the gain.
- **Overlap.** Backpropagation runs from the last layer to the first. When a layer is done in the last shard, its chunks
  leave. The core computes, sends and receives one after the other, layer by layer; the link carries a layer
  once the core is done with it and the link with the layers behind it::

      core = forward pass of the last shard, and all shards before it
      for each layer l = L .. 1:  core += its backward pass
                                  link  = max(link, core) + its bytes / rate
                                  core += its bytes * per_byte + its messages * per_message + its products
      step = max(core + update, link) + hops * latency

  A hop is a wait for others: one where every host adds up for itself, else two (sums there, totals back).

- **Factors.** A layer may travel as its shards' factors instead (see distbp.parallel.mesh.factors): often fewer bytes,
  but every host forms the products of all other hosts' shards. Of the layers those travel so with which the step is
  the shortest.

Not in it: hosts of different speed (the slowest decides), other traffic, a switch that carries less than all its links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from distbp.parallel.mesh.view import chunks_of, held, servers_for
from distbp.parallel.shards import Span, cut

_WORTH_IT = 1.1
"""By how much a step must become quicker for more hosts to pay."""


class Job(NamedTuple):
    """What a step has to do."""

    rows: int
    """Per mini-batch."""
    bounds: tuple[int, ...]
    """Where each layer's parameters begin in the flat vector, and where the last ones end (Structure.bounds)."""
    shards: int
    wire_bytes: int
    """Of a number between hosts: 4 as float32, 8 as float64, 2 as float16."""
    is_packed: bool = False
    """Whether numbers are converted for the way (float16)."""
    factors: tuple[int, ...] = ()
    """For each layer, how many numbers a shard of it has as factors; empty where no layer may travel so."""

    @property
    def parameters(self) -> int:
        """Their number."""
        return self.bounds[-1]


class Machine(NamedTuple):
    """Seconds of one core of a host for each part of a step."""

    shard: float
    """The gradient of one shard, forward and backward."""
    addition: float
    """The sum of two shard gradients."""
    update: float
    """Of all parameters and the optimizer's state, from the sum over all shards."""

    def slower(self, factor: float) -> Machine:
        """Return a machine that takes so many times as long."""
        return Machine(*(factor * seconds for seconds in self))


class Costs(NamedTuple):
    """What the exchange costs beside the link: seconds of one core, and of waiting."""

    per_byte: float
    """Of a core for each byte sent or received, with its sums."""
    per_message: float
    """Of a core for each message sent or received."""
    latency: float
    """Per hop: from a message's leaving to where somebody at the other end goes on with it."""
    per_packed: float
    """Of a core for each number that is sent or received as float16."""

    def slower(self, factor: float) -> Costs:
        """Return what it costs on a core that takes so many times as long; waiting does not change."""
        return Costs(factor * self.per_byte, factor * self.per_message, self.latency, factor * self.per_packed)


FITTED = Costs(per_byte=3.3e-10, per_message=62e-6, latency=2.6e-3, per_packed=2e-9)
"""Fitted by scripts/benchmarks/host_model.py to three runs of each case on 2 and 3 hosts, 1 Gbit/s, 0.4 of a core each.

With them the model was too quick for four hosts: by 4 % (mnist), 11 % (wide) and 23 % (small, of 12 ms).
``per_packed`` is an estimate from the passes over the numbers, not a fit.
"""


class Load(NamedTuple):
    """What the exchange of a step asks of the host, or link and direction, that has the most."""

    link_numbers: float
    """On its link in the busier direction."""
    numbers: float
    """Sent and received together."""
    messages: float
    """Sent and received together."""

    def part(self, share: float) -> Load:
        """Return a part of it."""
        return Load(*(share * count for count in self))


class Step(NamedTuple):
    """A step as the model expects it."""

    hosts: int
    servers: int
    """0 where nobody needs one: with one host, or where each of two adds up for itself."""
    seconds: float
    compute_seconds: float
    """Of the busiest worker, with the update."""
    wire_seconds: float
    """That the busiest link needs for its bytes in one direction."""
    link_bytes: int
    """Of the busiest link and direction."""
    messages: int
    """That the busiest host sends and receives."""
    factored: tuple[int, ...] = ()
    """The layers, counted from 0, that travel as their factors."""


def load_of(job: Job, hosts: int, servers: int, per_host: int = 1) -> Load:
    """Return what a step's exchange asks of the busiest host, if every layer travels as sums.

    >>> load_of(Job(1024, (0, 300_000, 900_000), 4, 4), hosts=3, servers=3).link_numbers  # 2 (N - 1) / N times as many
    1200000
    """
    if hosts == 1:
        return Load(0, 0, 0)
    chunks = chunks_of(job.bounds, servers)
    pieces, parts = Counter[int | None](), Counter[int | None]()
    for chunk in chunks:
        pieces[chunk.server] += 1
        parts[chunk.server] += chunk.place.stop - chunk.place.start
    sums = _sums(job.shards, hosts, per_host)
    loads = []
    for host, own in enumerate(sums):
        others = sum(sums) - own
        if servers:
            rest, other_pieces = job.parameters - parts[host], len(chunks) - pieces[host]
            sent, received = own * rest + (hosts - 1) * parts[host], others * parts[host] + rest
            messages = (own + 1) * other_pieces + (others + hosts - 1) * pieces[host]
        else:
            sent, received = own * job.parameters * (hosts - 1), others * job.parameters
            messages = (own * (hosts - 1) + others) * len(chunks)
        loads.append((max(sent, received), sent + received, messages + 2 * (hosts - 1)))
    return Load(*(max(column) for column in zip(*loads, strict=True)))


def factor_load(job: Job, layer: int, hosts: int, per_host: int = 1) -> Load:
    """Return what a layer that travels as its factors asks of the busiest host."""
    counts = _shards_of(job.shards, hosts, per_host)
    most, fewest = max(counts), min(counts)
    link, both = max((hosts - 1) * most, job.shards - fewest), (hosts - 2) * most + job.shards
    return Load(link * job.factors[layer], both * job.factors[layer], both)


@lru_cache(maxsize=256)
def _sums(shards: int, hosts: int, per_host: int) -> tuple[int, ...]:
    """Return how many sums each host sends, which may be none."""
    return tuple(len(held(span, shards)) for span in _spans(shards, hosts, per_host))


@lru_cache(maxsize=256)
def _shards_of(shards: int, hosts: int, per_host: int) -> tuple[int, ...]:
    """Return how many shards each host has, which may be none."""
    return tuple(span.stop - span.first for span in _spans(shards, hosts, per_host))


def _spans(shards: int, hosts: int, per_host: int) -> Iterator[Span]:
    """Yield the shards of each host."""
    parts = cut(shards, hosts * per_host)
    for first in range(0, hosts * per_host, per_host):
        mine = parts[first : first + per_host]
        yield Span(mine[0].first, mine[-1].stop) if mine else Span(shards, shards)


def step_of(
    job: Job, machine: Machine, link: float, hosts: int, servers: int, per_host: int = 1, costs: Costs = FITTED,
    factored: Sequence[int] = (),
) -> Step:  # fmt: skip
    """Return what a step on so many hosts takes.

    Args:
        job: what is to be done.
        machine: one core of each host.
        link: bytes per second of each host's link in each direction.
        hosts: their number.
        servers: partitions of the parameters; 0 if every host adds up everything for itself.
        per_host: workers on each host, a core for each.
        costs: of the exchange.
        factored: the layers, counted from 0, that travel as their factors.
    """
    held_shards = cut(job.shards, hosts * per_host)[0].stop
    other_shards = job.shards - min(_shards_of(job.shards, hosts, per_host))
    sums, weights = load_of(job, hosts, servers, per_host), job.parameters
    # A product of rows and weights for z, one for w's gradient, one for delta but in the first layer.
    unit = machine.shard / (3 * weights - job.bounds[1])
    busy = (held_shards - 1) * (machine.shard + machine.addition) + unit * weights
    on_link, link_bytes, messages = 0.0, 0.0, 0.0
    for first, stop, layer in reversed(_groups(job.bounds, tuple(factored))):
        busy += 2 * unit * (stop - first) - (0.0 if first else unit * job.bounds[1])
        is_factored = layer in factored
        load = factor_load(job, layer, hosts, per_host) if is_factored else sums.part((stop - first) / weights)
        bytes_of_layer = load.link_numbers * job.wire_bytes
        on_link = max(on_link, busy) + bytes_of_layer / link
        busy += load.numbers * (job.wire_bytes * costs.per_byte + costs.per_packed * job.is_packed)
        busy += load.messages * costs.per_message
        if is_factored:
            busy += other_shards / per_host * unit * (stop - first)
        link_bytes, messages = link_bytes + bytes_of_layer, messages + load.messages
    latency = costs.latency * (0 if hosts == 1 else 1 if not servers else 2)
    compute = held_shards * machine.shard + (held_shards - 1) * machine.addition + machine.update
    seconds = max(busy + machine.update, on_link if hosts > 1 else 0.0) + latency
    told = link_bytes / link, round(link_bytes), round(messages), tuple(factored)
    return Step(hosts, servers, seconds, compute, *told)


@lru_cache(maxsize=256)
def _groups(bounds: tuple[int, ...], factored: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return where the layers that travel together begin and end, and the first of them; the first ones first."""
    layers = sorted({chunk.layer for chunk in chunks_of(bounds, 0, factored)})
    firsts = [bounds[layer] for layer in layers]
    return list(zip(firsts, [*firsts[1:], bounds[-1]], layers, strict=True))


def best_step(
    job: Job, machine: Machine, link: float, hosts: int, servers: int | None = None, per_host: int = 1,
    costs: Costs = FITTED,
) -> Step:  # fmt: skip
    """Return the step with the servers, or the wanted number of them, and the factors that make it quickest.

    Where several are as quick it is the number of servers that a run has by itself.
    """
    usual = servers_for(servers, hosts) if hosts > 1 else 0
    choices = [usual]
    if servers is None and hosts > 2:
        choices += [1 << power for power in range((hosts - 1).bit_length())]
    steps = [
        step_of(job, machine, link, hosts, number, per_host, costs, factored)
        for number in choices
        for factored in (_factor_choices(job) if hosts > 1 else [()])
    ]
    return min(steps, key=lambda step: step.seconds)


def _factor_choices(job: Job) -> list[tuple[int, ...]]:
    """Return the sets of layers that may travel as factors: none, and those first that save the most for a product."""
    sizes = [stop - first for first, stop in pairwise(job.bounds)]
    layers = [layer for layer, numbers in enumerate(job.factors) if numbers < sizes[layer]]
    layers.sort(key=lambda layer: job.factors[layer] / sizes[layer])
    return [tuple(sorted(layers[:count])) for count in range(len(layers) + 1)]


def host_counts(least: int, most: int) -> list[int]:
    """Return the numbers of hosts that a plan looks at: both ends and the powers of two in between.

    >>> host_counts(3, 20)
    [3, 4, 8, 16, 20]
    """
    powers = (1 << power for power in range(most.bit_length()))
    return sorted({least, most, *(power for power in powers if least <= power <= most)})


def stops_paying(steps: Sequence[Step]) -> Step:
    """Return the first of the steps, which are in rising order of hosts, that no later one betters by 10 %."""
    for number, step in enumerate(steps):
        if all(step.seconds < _WORTH_IT * later.seconds for later in steps[number + 1 :]):
            return step
    raise ValueError("no steps")
