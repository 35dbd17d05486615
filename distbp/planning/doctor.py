"""Check whether this machine and a cluster are fit for runs; each finding comes with its remedy."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from distbp.config import Config
from distbp.errors import ClusterError
from distbp.system.arithmetic import fingerprint
from distbp.system.blas import unpinned_notes
from distbp.system.folders import home_folder, leftovers, memory_folder, temporary_folder
from distbp.system.limits import cpu_count, limits
from distbp.version import __version__

if TYPE_CHECKING:
    from distbp.actors.connection.nodes import NodeReport

_LEAST_MEMORY = 512 * 2**20
"""Shared memory that Ray's object store and a run's arrays need; containers often have 64 MB."""
_LEAST_MAIN_MEMORY = 768 * 2**20
"""Memory of the whole control group: below it the kernel kills Ray's processes while they start."""
_OLDEST_NOW = 1735689600.0
"""The start of 2025: a clock before it is wrong."""
_MOST_CLOCK_SKEW = 2.0
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class Check(NamedTuple):
    """The result of one check."""

    level: str
    """``ok``, ``warning`` or ``error``."""
    what: str
    """The subject of the check."""
    text: str
    """The finding, with the remedy unless all is well."""


def examine(address: str | None = None, insecure: bool = False, host_ports: str | None = None) -> Iterator[Check]:
    """Yield the checks of this machine, then those of the nodes of the Ray cluster at ``address``, if given.

    Raises:
        UsageError: ``host_ports``, on which nodes connect to each other, is neither a port nor a range.
    """
    port_range = Config(host_ports=host_ports).host_port_range
    yield _versions()
    yield _blas()
    yield _memory()
    yield _limits()
    yield _leftovers()
    yield _ports()
    yield _token(address, insecure)
    yield _clock()
    if address is not None:
        yield from _cluster(address, insecure, port_range)


def memory_folders() -> list[Path]:
    """Return the folders in which runs keep their private folders."""
    return sorted({memory_folder(), temporary_folder()})


def _versions() -> Check:
    versions = f"distbp {__version__}, Python {sys.version.split()[0]}, NumPy {version('numpy')}"
    try:
        return Check("ok", "versions", f"{versions}, Ray {version('ray')}")
    except PackageNotFoundError:
        return Check("warning", "versions", f"{versions}, no Ray: pip install ray, or use --workers 0")


def _blas() -> Check:
    cores = cpu_count()
    blas = f"{', '.join(fingerprint()['blas'])}, kernel {', '.join(fingerprint()['kernel'])}"
    blas += f", {cores} core{'s' * (cores > 1)}"
    # The environment's number of threads does not matter: distbp sets it itself wherever it computes.
    notes = unpinned_notes()
    return Check("warning" if notes else "ok", "BLAS", "; ".join([blas, *notes]))


def _memory() -> Check:
    folder = memory_folder()
    usage = shutil.disk_usage(folder)
    state = f"{folder} has {usage.free / 2**20:,.0f} MB free of {usage.total / 2**20:,.0f}"
    if usage.free >= _LEAST_MEMORY:
        return Check("ok", "shared memory", state)
    remedy = f"make it larger (mount -o remount,size=2G {folder}; docker run --shm-size=2g), or use --workers 0"
    if usage.total >= 2 * _LEAST_MEMORY:
        remedy = "free some space"
    return Check("warning", "shared memory", f"{state}, runs with workers need {_LEAST_MEMORY / 2**20:,.0f}: {remedy}")


def _limits() -> Check:
    cpus, memory = limits()
    allowed, warnings = [], []
    if cpus is not None:
        allowed.append(f"{cpus:g} CPUs")
        if cpus < cpu_count():
            warnings.append(f"{cpu_count()} cores are visible: more workers or --threads than CPUs slow the run down")
    if memory is not None:
        allowed.append(f"{memory / 2**20:,.0f} MB of memory")
        if memory < _LEAST_MAIN_MEMORY:
            least = f"{_LEAST_MAIN_MEMORY / 2**20:,.0f} MB"
            warnings.append(f"Ray and two workers need {least}: allow more, or use --workers 0")
    text = (
        f"the control group allows {', '.join(allowed)}"
        if allowed
        else "the control group limits neither CPUs nor memory"
    )
    return Check("warning" if warnings else "ok", "limits", "; ".join([text, *warnings]))


def _leftovers() -> Check:
    abandoned = [folder for base in memory_folders() for folder in leftovers(base)]
    if not abandoned:
        return Check("ok", "leftovers", "none of dead runs")
    size = sum(size_of(folder) for folder in abandoned)
    names = ", ".join(map(str, abandoned))
    return Check(
        "warning", "leftovers", f"{names}: {size / 2**20:,.0f} MB of dead runs; distbp clean --yes removes them"
    )


def size_of(path: Path) -> int:
    """Return the bytes that a folder takes on disk or in memory, without files that cannot be read."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(Path(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _ports() -> Check:
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            socket.create_connection(listener.getsockname(), timeout=2).close()
    except OSError as error:
        remedy = "bring up the loopback interface, or use --workers 0"
        return Check("error", "ports", f"cannot listen on 127.0.0.1: {error}; {remedy}")
    return Check("ok", "ports", "connections to 127.0.0.1 work")


def _token(address: str | None, insecure: bool) -> Check:
    mode = os.environ.get("RAY_AUTH_MODE")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or str((home_folder() or Path("~")) / ".ray" / "auth_token")
    has_token = bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(path).is_file()
    if mode == "token" and not has_token:
        remedy = f"set {_TOKENS[0]} or {_TOKENS[1]} (there is nothing in {path})"
        return Check("error", "token", f"RAY_AUTH_MODE=token, but there is no token: {remedy}")
    if mode == "token":
        return Check("ok", "token", "RAY_AUTH_MODE=token, and a token is set")
    if address is None:
        return Check("ok", "token", "a private Ray gets a token of its own")
    from distbp.actors.connection.addresses import refuse_open_cluster

    try:
        refuse_open_cluster(address, insecure)
    except ClusterError as error:
        return Check("error", "token", str(error))
    risk = f"none protects {address}: everyone who reaches it can run code there"
    remedy = "start the cluster with RAY_AUTH_MODE=token, and set that and RAY_AUTH_TOKEN_PATH on this machine"
    return Check("warning", "token", f"{risk}; {remedy}")


def _clock() -> Check:
    now = time.time()
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    if now < _OLDEST_NOW:
        return Check("warning", "clock", f"{text} is wrong: set the clock, by which runs are named and sorted")
    return Check("ok", "clock", text)


def _cluster(address: str, insecure: bool, host_ports: range) -> Iterator[Check]:
    from distbp.actors.connection.nodes import ask_nodes

    try:
        reports = ask_nodes(address, insecure, host_ports)
    except ClusterError as error:
        yield Check("error", "cluster", str(error))
        return
    yield from map(_node, reports)
    names: dict[str, list[str]] = {}
    for report in reports:
        if report.arithmetic is not None:
            names.setdefault(str(report.arithmetic), []).append(report.name)
    if len({*names, str(fingerprint())}) > 1:
        kinds = "; ".join(f"{', '.join(nodes)}: {kind}" for kind, nodes in names.items())
        text = f"nodes compute with different arithmetic, so bits may differ: {kinds}; use nodes of one type for a run"
        yield Check("warning", "CPU types", text)
    elif reports:
        yield Check("ok", "CPU types", "all nodes and this machine compute with the same arithmetic")


def _node(report: NodeReport) -> Check:
    problems = [report.problem] if report.problem else []
    if not report.problem:
        if report.version != __version__:
            problems.append(f"it has distbp {report.version}, this machine {__version__}: install the same version")
        if abs(report.clock) > _MOST_CLOCK_SKEW:
            problems.append(f"its clock is {report.clock:+.0f} s off: synchronize it by NTP")
        if report.memory < _LEAST_MEMORY:
            problems.append(
                f"{report.memory / 2**20:,.0f} MB of shared memory are free, runs need "
                f"{_LEAST_MEMORY / 2**20:,.0f}: make it larger"
            )
    if report.unreached:
        problems.append(f"{report.unreached}: open these ports between the nodes, --host-ports chooses them")
    level = "error" if report.problem or report.unreached else "warning" if problems else "ok"
    text = "; ".join(problems) or f"answers, {report.memory / 2**20:,.0f} MB of shared memory are free"
    return Check(level, f"node {report.name}", text)
