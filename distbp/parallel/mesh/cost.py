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
                                  core += its bytes * per_byte + its messages * per_message
                                  core += the others' products and their additions, if it travels as factors
      step = max(core + update, link) + hops * latency

  A hop is a wait for others: one where every host adds up for itself, else two (sums there, totals back).

- **Factors.** A layer may travel as its shards' factors instead (see distbp.parallel.mesh.factors): often fewer bytes,
  but every host forms the products of all other hosts' shards. Of the layers those travel so with which the step is
  the shortest.

Not in it: hosts of different speed (the slowest decides), other traffic, a switch that carries less than all its links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from distbp.nn.structure import Structure
from distbp.parallel.mesh.traffic import shard_counts, traffic_of_factors, traffic_of_layer
from distbp.parallel.mesh.view import chunks_of, servers_for
from distbp.parallel.step.factor_store import factor_size
from distbp.parallel.step.shards import cut

_WORTH_IT = 1.1
"""By how much a step must become quicker for more hosts to pay."""


class Workload(NamedTuple):
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


FITTED = Costs(per_byte=5.2e-10, per_message=19e-6, latency=2.5e-3, per_packed=2e-9)
"""Fitted by scripts/benchmarks/host_model.py to three runs of each case on 2 and 3 hosts, 1 Gbit/s, 0.4 of a core each.

With them the model was too quick for four hosts: by 5 % (mnist), 11 % (wide) and 22 % (small, of 12 ms).
``per_packed`` is an estimate from the passes over the numbers, not a fit.
"""


class StepEstimate(NamedTuple):
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


def estimate_step(
    job: Workload,
    machine: Machine,
    link: float,
    hosts: int,
    servers: int,
    per_host: int = 1,
    costs: Costs = FITTED,
    factored: tuple[int, ...] = (),
) -> StepEstimate:
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
    others_per_core = (job.shards - min(shard_counts(job.shards, hosts, per_host))) / per_host
    weights = job.parameters
    # A product of rows and weights for z, one for w's gradient, one for delta but in the first layer.
    unit = machine.shard / (3 * weights - job.bounds[1])
    busy = (held_shards - 1) * (machine.shard + machine.addition) + unit * weights
    reports = 2 * (hosts - 1)  # each host's to all others, and theirs
    on_link, link_bytes, messages = 0.0, 0.0, float(reports)
    for first, stop, layer in reversed(_groups(job.bounds, factored)):
        busy += 2 * unit * (stop - first) - (0.0 if first else unit * job.bounds[1])
        if layer in factored:
            load = traffic_of_factors(job.factors[layer], job.shards, hosts, per_host)
            products = others_per_core * (stop - first) * (unit + machine.addition / weights)
        else:
            products = 0.0
            load = traffic_of_layer(layer, job.bounds, job.shards, hosts, servers, per_host, factored)
        bytes_of_layer = load.link_numbers * job.wire_bytes
        on_link = max(on_link, busy) + bytes_of_layer / link
        busy += load.numbers * (job.wire_bytes * costs.per_byte + costs.per_packed * job.is_packed)
        busy += load.messages * costs.per_message + products
        link_bytes, messages = link_bytes + bytes_of_layer, messages + load.messages
    busy += reports * costs.per_message
    latency = costs.latency * (0 if hosts == 1 else 1 if not servers else 2)
    compute = held_shards * machine.shard + (held_shards - 1) * machine.addition + machine.update
    seconds = max(busy + machine.update, on_link if hosts > 1 else 0.0) + latency
    wire = link_bytes / link
    return StepEstimate(hosts, servers, seconds, compute, wire, round(link_bytes), round(messages), factored)


@lru_cache(maxsize=256)
def _groups(bounds: tuple[int, ...], factored: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return where the layers that travel together begin and end, and the first of them; the first ones first."""
    layers = sorted({chunk.layer for chunk in chunks_of(bounds, 0, factored)})
    firsts = [bounds[layer] for layer in layers]
    return list(zip(firsts, [*firsts[1:], bounds[-1]], layers, strict=True))


def fastest_step(
    job: Workload,
    machine: Machine,
    link: float,
    hosts: int,
    servers: int | None = None,
    per_host: int = 1,
    costs: Costs = FITTED,
) -> StepEstimate:
    """Return the step with the servers, or the wanted number of them, and the factors that make it quickest.

    Where several are as quick it is the number of servers that a run has by itself.
    """
    usual = servers_for(servers, hosts) if hosts > 1 else 0
    choices = [usual]
    if servers is None and hosts > 2:
        choices += [1 << power for power in range((hosts - 1).bit_length())]
    steps = [
        estimate_step(job, machine, link, hosts, number, per_host, costs, factored)
        for number in choices
        for factored in (_factor_choices(job) if hosts > 1 else [()])
    ]
    return min(steps, key=lambda step: step.seconds)


def _factor_choices(job: Workload) -> list[tuple[int, ...]]:
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


def largest_worthwhile(steps: Sequence[StepEstimate]) -> StepEstimate:
    """Return the first of the steps, which are in rising order of hosts, that no later one betters by 10 %."""
    for number, step in enumerate(steps):
        if all(step.seconds < _WORTH_IT * later.seconds for later in steps[number + 1 :]):
            return step
    raise ValueError("no steps")


_NOT_HIDDEN = 1 / 2
"""What of the shorter of both, travelling and forming products, a step feels; as seen with three hosts at 1 Gbit/s."""
MEASURING_SECONDS = 10.0
"""What hosts may take to measure and answer."""


class Rates(NamedTuple):
    """What a host can do, as measured."""

    bytes_per_second: float
    """That come in over its link."""
    products: Mapping[int, float]
    """Seconds to form and add a shard's product of each candidate, by layer, with all its workers' cores."""


def choose_factored_layers(
    structure: Structure, rows: int, shards: int, hosts: int, itemsize: int, rates: Sequence[Rates]
) -> list[int]:
    """Return the layers with which a step is the shortest, if they travel as factors.

    Sums cost each link 2 (N - 1) / N times the layer's parameters, factors those of all shards but its own host's; the
    slowest link and the slowest host count. Reconstructor are formed while other numbers travel, but not wholly so.
    """
    others = shards * (hosts - 1) / hosts
    link = min(rate.bytes_per_second for rate in rates)
    all_sums = 2 * (hosts - 1) / hosts * structure.parameter_count * itemsize / link
    products = {layer: others * max(rate.products[layer] for rate in rates) for layer in rates[0].products}
    saved = {}
    for layer in products:
        parameters = structure.bounds[layer + 1] - structure.bounds[layer]
        numbers = 2 * (hosts - 1) / hosts * parameters - others * factor_size(structure, layer, rows)
        saved[layer] = itemsize * numbers / link

    def seconds(layers: Iterable[int]) -> float:
        wire = all_sums - sum(saved[layer] for layer in layers)
        forming = sum(products[layer] for layer in layers)
        return max(wire, forming) + _NOT_HIDDEN * min(wire, forming)

    best_first = sorted(products, key=lambda layer: products[layer] / max(saved[layer], 1e-9))
    return sorted(min((best_first[:count] for count in range(len(best_first) + 1)), key=seconds))
