"""The settings of computing: workers, shards, threads, time limits and the cluster."""

from __future__ import annotations

from dataclasses import dataclass

from distbp.config.option import option
from distbp.config.values import SECONDS, Address, Flag, Name, Ports, Whole, WorkerNumber
from distbp.config.workers import Workers


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)  # Config has these methods
class ComputingOptions:
    """The settings of computing."""

    workers: int | str | Workers = option(
        WorkerNumber(),
        "auto",
        "Number of Ray workers; 0 computes in this process, without Ray; auto measures whether workers are faster; "
        "2..6 starts with 2 and grows to 6 as CPUs become available. Never changes the result.",
        changes_result=False,
    )
    shards: int | None = option(
        Whole(1),
        None,
        "Shards of a mini-batch, the units of gradient computation; changes the last bits of the result. With 2 "
        "workers, 4 shards take about 8 % longer than 2, and 8 shards 23 %.",
        if_open="largest power of two up to 4 that leaves 64 rows per shard",
    )
    threads: int = option(Whole(1), 1, "BLAS threads per shard; changes the last bits of the result.")
    timeout: float = option(
        SECONDS,
        10.0,
        "Time without a message after which a peer counts as lost.",
        metavar="SECONDS",
        changes_result=False,
    )
    wait: float = option(
        SECONDS, 60.0, "Longest time to wait for the cluster's resources.", metavar="SECONDS", changes_result=False
    )
    address: str | None = option(
        Address(),
        None,
        "Address of an existing Ray cluster, or auto.",
        if_open="a private Ray on this machine",
        metavar="HOST:PORT",
        changes_result=False,
    )
    insecure: bool = option(
        Flag(), False, "Allow a cluster on another machine although no token protects it.", changes_result=False
    )
    servers: int | None = option(
        Whole(1),
        None,
        "Number of partitions in which several hosts add up the parameters' gradients. Never changes the result.",
        if_open="the number of hosts; with two hosts, each host sums for itself",
        changes_result=False,
    )
    host_ports: int | str | None = option(
        Ports(),
        None,
        "Port, or range such as 7000-7099, at which the hosts of a run reach each other; a host needs one for "
        "each run.",
        if_open="any free ports",
        metavar="PORTS",
        changes_result=False,
    )
    wire: str = option(
        Name(),
        "exact",
        "Encoding of the numbers sent between several hosts: exact, or float16 for half the bytes, which is lossy: the "
        "result then depends on hosts, --servers and lost peers.",
        metavar="NAME",
    )
    checkpoint_seconds: float = option(
        SECONDS,
        30.0,
        "Time between checkpoints within an epoch; each epoch also ends with one.",
        metavar="SECONDS",
        changes_result=False,
    )
