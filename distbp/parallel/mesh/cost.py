"""A cost model of a step on several hosts: arithmetic, links and messages.

A step on N hosts with K servers consists of the following. Every time is that of the busiest host.

- **Compute.** A worker computes its shards one after the other, and adds each to those before it. The worker with the
  most shards determines the time, so more workers than shards gain nothing.
- **Bytes.** A host sends its sums of all parameters that others serve (one sum, or more if its shards are no complete
  subtree), and the totals of those that it serves to N - 1 others. With K = N and one sum each that is 2 (N - 1) / N
  times the parameters in each direction; with K < N a server's link carries more. With K = 0 every host adds up
  everything itself, and each sends all its sums to each other.
- **Messages.** Every chunk goes to each peer that needs it, every report to all. Their number grows with N, for links
  of any speed, so at some N more hosts gain nothing.
- **Overlap.** Backpropagation runs from the last layer to the first. When a layer is done in the last shard, its chunks
  are sent. The core computes, sends and receives one after the other, layer by layer; the link carries a layer
  once the core is done with it and the link with the later layers::

      core = forward pass of the last shard, and all shards before it
      for each layer l = L .. 1:  core += its backward pass
                                  link  = max(link, core) + its bytes / rate
                                  core += its bytes * per_byte + its messages * per_message
                                  core += the others' products and their additions, if it is exchanged as factors
      step = max(core + update, link) + hops * latency

  A hop is a wait for other hosts: one with K = 0, else two (sums to the servers, totals back).

- **Factors.** A layer may be exchanged as sufficient factors (Xie et al. 2014; Poseidon, Zhang et al. 2017; see
  distbp.parallel.mesh.factors): often fewer bytes, but every host forms the products of all other hosts' shards. The
  layers for which this gives the shortest step are exchanged this way.

Not modelled: hosts of different speed (the slowest determines the step), other traffic, and switches that carry less
than the sum of their links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from distbp.nn.structure import Structure
from distbp.parallel.mesh.chunks import chunks_of
from distbp.parallel.mesh.traffic import shard_counts, traffic_of_factors, traffic_of_layer
from distbp.parallel.mesh.view import servers_for
from distbp.parallel.step.factor_store import factor_size
from distbp.parallel.step.shards import cut

_WORTH_IT = 1.1
"""More hosts are worthwhile if they speed up a step by more than this factor."""


class Workload(NamedTuple):
    """The work of a step."""

    rows: int
    """Rows of a mini-batch."""
    bounds: tuple[int, ...]
    """The layers' bounds in the parameter vector (Structure.bounds)."""
    shards: int
    wire_bytes: int
    """Bytes per number between hosts: 4 for float32, 8 for float64, 2 for float16."""
    is_packed: bool = False
    """Whether numbers are converted for the wire (float16)."""
    factors: tuple[int, ...] = ()
    """Numbers of a shard's factors for each layer; empty if no layer may be exchanged as factors."""

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return self.bounds[-1]


class Machine(NamedTuple):
    """Seconds that one core of a host takes for each part of a step."""

    shard: float
    """Seconds to compute the gradient of one shard, forward and backward."""
    addition: float
    """Seconds to add two shard gradients."""
    update: float
    """Seconds to update all parameters and the optimizer's state from the sum over all shards."""

    def slower(self, factor: float) -> Machine:
        """Return a machine that takes ``factor`` times as long."""
        return Machine(*(factor * seconds for seconds in self))


class Costs(NamedTuple):
    """Costs of the exchange besides the link: core seconds and waiting."""

    per_byte: float
    """Core seconds per byte sent or received, including the additions."""
    per_message: float
    """Core seconds per message sent or received."""
    latency: float
    """One-way latency per hop in seconds, including the wake-up at the receiver."""
    per_packed: float
    """Core seconds per number sent or received as float16."""

    def slower(self, factor: float) -> Costs:
        """Return the costs on a core that takes ``factor`` times as long; the latency is unchanged."""
        return Costs(factor * self.per_byte, factor * self.per_message, self.latency, factor * self.per_packed)


FITTED = Costs(per_byte=5.2e-10, per_message=19e-6, latency=2.5e-3, per_packed=2e-9)
"""Fitted by scripts/benchmarks/host_model.py to three runs of each case on 2 and 3 hosts, 1 Gbit/s, 0.4 of a core each.

With them the model underestimates four hosts by 5 % (mnist), 11 % (wide) and 22 % (small, of 12 ms). ``per_packed`` is
an estimate from the number of passes over the data, not a fit.
"""


class StepEstimate(NamedTuple):
    """The modelled duration and traffic of a step."""

    hosts: int
    servers: int
    """Number of partitions; 0 for one host, or if every host adds up everything itself."""
    seconds: float
    compute_seconds: float
    """Compute time of the busiest worker, including the update."""
    wire_seconds: float
    """Time that the busiest link needs for its bytes in one direction."""
    link_bytes: int
    """Bytes on the busiest link, in its busier direction."""
    messages: int
    """Messages that the busiest host sends and receives."""
    factored: tuple[int, ...] = ()
    """Layers, counted from 0, that are exchanged as factors."""


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
    """Return the modelled step on ``hosts`` hosts.

    Args:
        job: the work of the step.
        machine: one core of each host.
        link: bytes per second of each host's link in each direction.
        hosts: number of hosts.
        servers: partitions of the parameters; 0 if every host adds up everything itself.
        per_host: workers on each host, one core each.
        costs: costs of the exchange.
        factored: layers, counted from 0, that are exchanged as factors.
    """
    most_shards = cut(job.shards, hosts * per_host)[0].stop
    others_per_core = (job.shards - min(shard_counts(job.shards, hosts, per_host))) / per_host
    weights = job.parameters
    # Per weight: one product for z, one for the gradient of w, and one for delta except in the first layer.
    unit = machine.shard / (3 * weights - job.bounds[1])
    busy = (most_shards - 1) * (machine.shard + machine.addition) + unit * weights
    reports = 2 * (hosts - 1)  # each host sends its reports to every other host and receives theirs
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
    compute = most_shards * machine.shard + (most_shards - 1) * machine.addition + machine.update
    seconds = max(busy + machine.update, on_link if hosts > 1 else 0.0) + latency
    wire = link_bytes / link
    return StepEstimate(hosts, servers, seconds, compute, wire, round(link_bytes), round(messages), factored)


@lru_cache(maxsize=256)
def _groups(bounds: tuple[int, ...], factored: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return start, stop and first layer of each group of layers that share chunks, first group first."""
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
    """Return the fastest step, with the best layers as factors and, unless it is given, the best number of servers.

    Among equally fast steps, the default number of servers of a run is preferred.
    """
    default = servers_for(servers, hosts) if hosts > 1 else 0
    choices = [default]
    if servers is None and hosts > 2:
        choices += [1 << power for power in range((hosts - 1).bit_length())]
    steps = [
        estimate_step(job, machine, link, hosts, number, per_host, costs, factored)
        for number in choices
        for factored in (_factor_choices(job) if hosts > 1 else [()])
    ]
    return min(steps, key=lambda step: step.seconds)


def _factor_choices(job: Workload) -> list[tuple[int, ...]]:
    """Return the sets of layers to try as factors, from none to all, largest savings per product first."""
    sizes = [stop - first for first, stop in pairwise(job.bounds)]
    layers = [layer for layer, numbers in enumerate(job.factors) if numbers < sizes[layer]]
    layers.sort(key=lambda layer: job.factors[layer] / sizes[layer])
    return [tuple(sorted(layers[:count])) for count in range(len(layers) + 1)]


def host_counts(least: int, most: int) -> list[int]:
    """Return the numbers of hosts that a plan considers: both ends and the powers of two in between.

    >>> host_counts(3, 20)
    [3, 4, 8, 16, 20]
    """
    powers = (1 << power for power in range(most.bit_length()))
    return sorted({least, most, *(power for power in powers if least <= power <= most)})


def largest_worthwhile(steps: Sequence[StepEstimate]) -> StepEstimate:
    """Return the first of ``steps``, sorted by hosts, such that no later step is 10 % faster."""
    for number, step in enumerate(steps):
        if all(step.seconds < _WORTH_IT * later.seconds for later in steps[number + 1 :]):
            return step
    raise ValueError("no steps")


_NOT_HIDDEN = 1 / 2
"""Share of the shorter of transfer and reconstruction that the longer does not hide (three hosts at 1 Gbit/s)."""
MEASURING_SECONDS = 10.0
"""Seconds within which the hosts must measure and answer."""


class Rates(NamedTuple):
    """The measured rates of a host."""

    bytes_per_second: float
    """Bandwidth of the host's link, incoming."""
    products: Mapping[int, float]
    """For each layer, seconds to form and add one shard's product, using all of the host's worker cores."""


def choose_factored_layers(
    structure: Structure, rows: int, shards: int, hosts: int, itemsize: int, rates: Sequence[Rates]
) -> list[int]:
    """Return the layers whose exchange as factors gives the shortest step.

    As sums, a layer puts 2 (N - 1) / N times its parameters on each link; as factors, those of all other hosts' shards.
    The slowest link and the slowest host determine the time. Reconstruction overlaps the transfer only in part.
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
