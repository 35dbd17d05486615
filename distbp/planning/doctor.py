"""Whether this machine, and a cluster, are fit for runs: each finding with what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from distbp.config.checks import ports
from distbp.errors import ClusterError
from distbp.system.arithmetic import fingerprint
from distbp.system.blas import unpinned_notes
from distbp.system.folders import home_folder, leftovers, memory_folder, temporary_folder
from distbp.system.limits import cpu_count, limits
from distbp.version import __version__

_LEAST_MEMORY = 512 * 2**20
"""Of shared memory; containers often have 64 MB. Ray's store and the run's slabs are there."""
_LEAST_MAIN_MEMORY = 768 * 2**20
"""Of the whole control group: below that the kernel ends Ray's processes as they start."""
_BUILT = 1735689600.0
"""2025: a clock that is before that is wrong."""
_CLOCKS_APART = 2.0
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class Check(NamedTuple):
    """What was looked at."""

    level: str
    """``ok``, ``warning`` or ``error``."""
    what: str
    text: str
    """What was found, and what to do if that is not well."""


def examine(address: str | None = None, insecure: bool = False, host_ports: str | None = None) -> Iterator[Check]:
    """Yield what is found on this machine, then on the nodes of the Ray cluster at ``address``, if one is given.

    Raises:
        UsageError: ``host_ports``, at which the nodes connect to each other, is neither a port nor a range.
    """
    between = ports(host_ports)
    yield _versions()
    yield _blas()
    yield _memory()
    yield _limits()
    yield _left()
    yield _ports()
    yield _token(address, insecure)
    yield _clock()
    if address is not None:
        yield from _cluster(address, insecure, between)


def memory_folders() -> list[Path]:
    """Return where runs have folders of their own while they last."""
    return sorted({memory_folder(), temporary_folder()})


def _versions() -> Check:
    told = f"distbp {__version__}, Python {sys.version.split()[0]}, NumPy {version('numpy')}"
    try:
        return Check("ok", "versions", f"{told}, Ray {version('ray')}")
    except PackageNotFoundError:
        return Check("warning", "versions", f"{told}, no Ray: pip install ray, or use --workers 0")


def _blas() -> Check:
    cores = cpu_count()
    told = f"{', '.join(fingerprint()['blas'])}, kernel {', '.join(fingerprint()['kernel'])}"
    told += f", {cores} core{'s' * (cores > 1)}"
    # how many threads the environment gives it does not matter: distbp sets them for all that it computes
    loose = unpinned_notes()
    return Check("warning" if loose else "ok", "BLAS", "; ".join([told, *loose]))


def _memory() -> Check:
    folder = memory_folder()
    usage = shutil.disk_usage(folder)
    told = f"{folder} has {usage.free / 2**20:,.0f} MB free of {usage.total / 2**20:,.0f}"
    if usage.free < _LEAST_MEMORY:
        cure = "remove what fills it" if usage.total >= 2 * _LEAST_MEMORY else (
            f"make it larger (mount -o remount,size=2G {folder}; docker run --shm-size=2g), or use --workers 0"
        )  # fmt: skip
        return Check("warning", "shared memory", f"{told}, runs with workers want {_LEAST_MEMORY / 2**20:,.0f}: {cure}")
    return Check("ok", "shared memory", told)


def _limits() -> Check:
    cpus, memory = limits()
    told, bad = [], []
    if cpus is not None:
        told.append(f"{cpus:g} CPUs")
        if cpus < cpu_count():
            bad.append(f"{cpu_count()} cores are seen: more workers or --threads than CPUs slow each other")
    if memory is not None:
        told.append(f"{memory / 2**20:,.0f} MB of memory")
        if memory < _LEAST_MAIN_MEMORY:
            bad.append(f"Ray and two workers take {_LEAST_MAIN_MEMORY / 2**20:,.0f}: allow more, or use --workers 0")
    found = f"the control group allows {', '.join(told)}" if told else "none of the control group on CPUs or memory"
    return Check("warning" if bad else "ok", "limits", "; ".join([found, *bad]))


def _left() -> Check:
    found = [folder for base in memory_folders() for folder in leftovers(base)]
    if not found:
        return Check("ok", "leftovers", "none of dead runs")
    size = sum(size_of(folder) for folder in found)
    what = ", ".join(map(str, found))
    return Check(
        "warning", "leftovers", f"{what}: {size / 2**20:,.0f} MB of dead runs; distbp clean --yes removes them"
    )


def size_of(path: Path) -> int:
    """Return the bytes that a folder takes on its disk, or in memory; what cannot be read counts nothing."""
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
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            one.listen(1)
            socket.create_connection(one.getsockname(), timeout=2).close()
    except OSError as error:
        return Check(
            "error", "ports", f"127.0.0.1 cannot be listened on: {error}; bring up the loopback, or use --workers 0"
        )  # fmt: skip
    return Check("ok", "ports", "127.0.0.1 can be listened on")


def _token(address: str | None, insecure: bool) -> Check:
    mode = os.environ.get("RAY_AUTH_MODE")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or str((home_folder() or Path("~")) / ".ray" / "auth_token")
    has_token = bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(path).is_file()
    if mode == "token" and not has_token:
        return Check("error", "token", f"RAY_AUTH_MODE=token, but there is no token: set {_TOKENS[0]} or {_TOKENS[1]}"
                     f" (nothing in {path})")  # fmt: skip
    if mode == "token":
        return Check("ok", "token", "RAY_AUTH_MODE=token, and a token is there")
    if address is None:
        return Check("ok", "token", "a private Ray gets a token of its own")
    from distbp.actors.connection.addresses import refuse_open_cluster

    try:
        refuse_open_cluster(address, insecure)
    except ClusterError as error:
        return Check("error", "token", str(error))
    return Check("warning", "token", f"none is used for {address}, whoever reaches it can run code there: start the "
                 "cluster with RAY_AUTH_MODE=token and set it here, with RAY_AUTH_TOKEN_PATH")  # fmt: skip


def _clock() -> Check:
    now = time.time()
    told = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    if now < _BUILT:
        return Check("warning", "clock", f"{told} is past: set the clock, runs are named and sorted by it")
    return Check("ok", "clock", told)


def _cluster(address: str, insecure: bool, between: range) -> Iterator[Check]:
    from distbp.actors.connection.nodes import ask_nodes

    try:
        reports = ask_nodes(address, insecure, between)
    except ClusterError as error:
        yield Check("error", "cluster", str(error))
        return
    here = fingerprint()
    kinds: dict[str, list[str]] = {}
    for report in reports:
        kinds.setdefault(str(report.arithmetic), []).append(report.name)
        bad = [report.problem] if report.problem else []
        if not bad:
            if report.version != __version__:
                bad.append(f"distbp {report.version} there, {__version__} here: install the same")
            if abs(report.clock) > _CLOCKS_APART:
                bad.append(f"its clock is {report.clock:+.0f} s off: let NTP set it")
            if report.memory < _LEAST_MEMORY:
                bad.append(f"{report.memory / 2**20:,.0f} MB of shared memory free, runs want "
                           f"{_LEAST_MEMORY / 2**20:,.0f}: make it larger")  # fmt: skip
        if report.unreached:
            bad.append(f"{report.unreached}: let the nodes reach each other there, --host-ports chooses the ports")
        level = "error" if report.problem or report.unreached else "warning" if bad else "ok"
        yield Check(level, f"node {report.name}", "; ".join(bad) or f"answers, {report.memory / 2**20:,.0f} MB shared")
    kinds.pop("None", None)
    if len(kinds | {str(here): []}) > 1:
        told = "; ".join(f"{', '.join(names)}: {kind}" for kind, names in kinds.items())
        yield Check("warning", "CPU types", f"nodes compute with different arithmetic, so bits may differ: {told}; "
                    "keep a run to nodes of one type")  # fmt: skip
    elif reports:
        yield Check("ok", "CPU types", "the same arithmetic on all nodes and here")
