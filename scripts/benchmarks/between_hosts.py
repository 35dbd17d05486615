"""Measure distbp against PyTorch DDP over gloo between hosts: network namespaces on this machine, with shaped links.

Every host has one computing process with one thread and an equal share of the cores. All contestants do the same steps
from the same initial weights in the same order of rows, in turns; medians are compared. Needs root.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contestants import Report, check_accuracies, default_data
from host_contestants import Contestant, Ddp, Distbp, Task, compute_alone
from hosts import Setting, Testbed, testbed
from processes import CommandError, end_on_signals
from tables import markdown, surroundings

from distbp.planning.bench import CASES
from distbp.system.limits import cpu_count

FEW_STEPS = 1
"""Steps of an extra run, which shows how many bytes travel before the first step."""


@dataclass
class Results:
    """One contestant's results for one case in one setting."""

    reports: list[Report] = field(default_factory=list)
    compute_ms: list[float] = field(default_factory=list)
    overhead: Sequence[int] = ()
    """Bytes of a run of few steps, by host and direction: the traffic besides the steps is the same in all runs."""
    step_bytes: list[float] = field(default_factory=list)
    """Bytes per step of the busiest host and direction."""

    @property
    def samples_per_s(self) -> float:
        """Return the median speed."""
        return statistics.median(report.samples_per_s for report in self.reports)

    @property
    def bytes_per_step(self) -> float:
        """Return the median bytes per step."""
        return statistics.median(self.step_bytes)


ResultsByKey = dict[tuple[str, Setting, Contestant], Results]


def measure(
    setting: Setting, cases: Mapping[str, Task], wires: Sequence[str], rounds: int, results: ResultsByKey
) -> None:
    """Add the results of all contestants for all cases in one setting.

    Raises:
        CommandError: a contestant failed, or its accuracy differs from the others'.
    """
    for number in range(rounds):
        note = f"{_where(setting)}, round {number + 1} of {rounds}"
        # one testbed for each, so that an idle Ray takes no time from PyTorch
        for contestants in ([Ddp()], [Distbp(wire) for wire in wires]):
            if contestants:
                with testbed(setting) as bed:
                    _measure_round(bed, setting, contestants, cases, results, note)
        for case in cases:
            of_case = {key[2].title: result for key, result in results.items() if key[:2] == (case, setting)}
            check_accuracies(case, {title: result.reports[-1].test_accuracy for title, result in of_case.items()})


def _measure_round(
    bed: Testbed,
    setting: Setting,
    contestants: Sequence[Contestant],
    cases: Mapping[str, Task],
    results: ResultsByKey,
    note: str,
) -> None:
    """Add one run of every case for contestants that share a setup of the hosts."""
    for case, task in cases.items():
        compute_ms = compute_alone(bed, contestants[0], task)
        for contestant in contestants:
            results.setdefault((case, setting, contestant), Results()).compute_ms.append(compute_ms)
    environment = bed.start_ray() if isinstance(contestants[0], Distbp) else {}
    for case, task in cases.items():
        for contestant in contestants:
            result = results[case, setting, contestant]
            if not result.reports:
                _, result.overhead = _run(bed, environment, contestant, task._replace(steps=FEW_STEPS))
            report, carried = _run(bed, environment, contestant, task)
            most = max(count - overhead for count, overhead in zip(carried, result.overhead, strict=True))
            result.step_bytes.append(most / (task.steps - FEW_STEPS))
            result.reports.append(report)
            _note(f"{case}, {note}: {contestant.title}: {report.step_ms:.1f} ms")


def _run(bed: Testbed, environment: Mapping[str, str], contestant: Contestant, task: Task) -> tuple[Report, list[int]]:
    """Do the steps; return the report and the bytes that each host sent and received meanwhile."""
    before = bed.traffic()
    report = contestant.run(bed, environment, task)
    return report, [now - then for then, now in zip(before, bed.traffic(), strict=True)]


def table(results: ResultsByKey) -> str:
    """Return the medians, a line per case, setting and contestant."""
    columns = ["case", "hosts", "link", "", "ms per step", "range", "samples/s", "compute ms", "MB per step", "wire ms"]
    rows = []
    for (case, setting, contestant), result in results.items():
        steps_ms = [report.step_ms for report in result.reports]
        accuracies = [report.test_accuracy for report in result.reports if report.test_accuracy is not None]
        rows.append(
            [
                case,
                str(setting.hosts),
                setting.rate,
                contestant.title,
                f"{statistics.median(steps_ms):.1f}",
                f"{min(steps_ms):.1f} to {max(steps_ms):.1f}",
                f"{result.samples_per_s:,.0f}",
                f"{statistics.median(result.compute_ms):.1f}",
                f"{result.bytes_per_step / 1e6:.2f}",
                f"{result.bytes_per_step / setting.bytes_per_ms:.1f}",
                f"{statistics.median(accuracies):.4f}",
            ]
        )
    return markdown([*columns, "test accuracy"], rows)


def ratio_table(results: ResultsByKey, wires: Sequence[str]) -> str:
    """Return the speed of distbp relative to DDP, a line per case and setting."""
    rows = []
    for case, setting in dict.fromkeys((case, setting) for case, setting, _ in results):
        ddp = results[case, setting, Ddp()].samples_per_s
        ratios = [f"{results[case, setting, Distbp(wire)].samples_per_s / ddp:.2f}" for wire in wires]
        rows.append([case, str(setting.hosts), setting.rate, *ratios])
    return markdown(["case", "hosts", "link", *(f"{wire} / DDP" for wire in wires)], rows)


def explained(options: argparse.Namespace, cases: Mapping[str, Task]) -> str:
    """Return a text that explains the columns."""
    shares = [f"{_share(options.cpus, hosts):.2f} of a core with {hosts} hosts" for hosts in options.hosts]
    networks = [
        f"{case} is 784-{'-'.join(map(str, CASES[case].hidden))}-10, mini-batch {CASES[case].batch_size}, "
        f"{task.steps} timed steps"
        for case, task in cases.items()
    ]
    return (
        f"Rounds: {options.rounds}. {'; '.join(networks)}. Float32 arithmetic for all. Every host has one process that "
        "computes, of one thread, and by control groups an equal share of the CPU: "
        f"{', '.join(shares)}. Ratios are of samples/s, which count all of the timed steps; ms per step is the "
        "median step of a run. Compute ms is the arithmetic of a host's share of the rows, as a mean, while all "
        "hosts compute and none waits: of PyTorch with, of distbp without the update of the weights. MB per step "
        "(1 MB = 10^6 bytes) is what the host and direction with the most carried, by the counters of the interfaces; "
        "what travels before the first step is taken off. Wire ms is how long the link needs for that."
    )


def main() -> int:
    """Measure, print, and return the exit code."""
    options = _options()
    end_on_signals()
    cases = {case: Task(case, options.data.resolve(), options.steps or CASES[case].steps) for case in options.cases}
    results: ResultsByKey = {}
    try:
        for hosts in options.hosts:
            for rate in options.rates:
                setting = Setting(hosts, rate, _share(options.cpus, hosts))
                measure(setting, cases, options.wires, options.rounds, results)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    tables = [table(results), *([ratio_table(results, options.wires)] if options.wires else [])]
    print("\n\n".join(tables))
    if options.out is not None:
        parts = ["# distbp and PyTorch DDP between hosts", surroundings(), explained(options, cases), *tables]
        options.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        _note(f"written to {options.out}")
    return 0


def _share(cpus: float | None, hosts: int) -> float:
    return cpus or cpu_count() / hosts


def _where(setting: Setting) -> str:
    return f"{setting.hosts} hosts at {setting.rate}"


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _list_of(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=_list_of, default="2,3", metavar="N,M", help="default: %(default)s")
    parser.add_argument(
        "--rates", type=_list_of, default="1gbit,10gbit", metavar="A,B", help="of each link; default: %(default)s"
    )
    parser.add_argument("--cases", type=_list_of, default="mnist,wide", metavar="A,B", help="default: %(default)s")
    parser.add_argument(
        "--wires",
        type=_list_of,
        default="exact,float16",
        metavar="A,B",
        help="how distbp's numbers travel; nothing to measure PyTorch alone; default: %(default)s",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--cpus", type=float, metavar="SHARE", help="cores for each host; default: cores / hosts")
    parser.add_argument("--steps", type=int, metavar="N", help="timed steps; default: what takes some seconds")
    parser.add_argument("--data", type=Path, default=default_data(), metavar="FOLDER", help="with the MNIST IDX files")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the tables here, with machine and versions")
    options = parser.parse_args()
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"--cases knows {', '.join(CASES)}; found {', '.join(unknown)}")
    if wrong := [rate for rate in options.rates if not re.fullmatch(r"[0-9.]+[kmg]bit", rate)]:
        parser.error(f"--rates are such as 1gbit or 500mbit; found {', '.join(wrong)}")
    if not all(hosts.isdigit() and 2 <= int(hosts) <= 99 for hosts in options.hosts):
        parser.error(f"--hosts must be 2..99; found {', '.join(options.hosts)}")
    options.hosts = [int(hosts) for hosts in options.hosts]
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.steps is not None and options.steps <= FEW_STEPS:
        parser.error(f"--steps must be more than {FEW_STEPS}")
    if not options.data.is_dir():
        parser.error(f"no MNIST at {options.data}: name its folder with --data")
    return options


if __name__ == "__main__":
    sys.exit(main())
