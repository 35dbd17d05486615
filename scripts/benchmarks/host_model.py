"""Fit the model of distbp/parallel/mesh/cost.py on network namespaces with 1, 2 and 3 hosts; check it against more.

Measuring and fitting are separate commands, so that each number of hosts can be measured by itself:

  host_model.py measure POINTS.jsonl --hosts 1     (needs root; again for 2, 3 and 4)
  host_model.py fit POINTS.jsonl --check 4

Every host has a worker and the same share of the CPU, by default half a core. The printed constants are for one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contestants import default_data
from host_contestants import Distbp, Task
from hosts import Setting, testbed
from processes import CommandError, end_on_signals
from scipy.optimize import least_squares
from tables import markdown

from distbp.data import load
from distbp.parallel.mesh.cost import FITTED, Costs, Machine, StepEstimate, Workload, fastest_step
from distbp.parallel.mesh.view import servers_for
from distbp.planning.bench import CASES
from distbp.planning.hosts import measure_machine, workload_of
from distbp.system.blas import one_thread
from distbp.training.executors import initial_state
from distbp.training.setup import settle

STEPS = {"tiny": 300, "small": 200, "mnist": 60, "wide": 14}
"""Number of timed steps of a run, which take half a core some seconds."""


class Point(NamedTuple):
    """The result of one run."""

    case: str
    wire: str
    hosts: int
    rate: str
    cpus: float
    step: float
    """Mean seconds of a step; not the median, since a host that has used up its CPU share pauses at times."""


def measure(options: argparse.Namespace) -> None:
    """Add a run of each case with each wire to the file of points."""
    setting = Setting(options.hosts, options.rate, options.cpus)
    with testbed(setting) as bed:
        environment = bed.start_ray()
        for case in options.cases:
            for wire in options.wires:
                task = Task(case, options.data.resolve(), STEPS[case])
                report = Distbp(wire).run(bed, environment, task)
                point = Point(
                    case,
                    wire,
                    setting.hosts,
                    setting.rate,
                    setting.cpus,
                    CASES[case].batch_size / report.samples_per_s,
                )
                print(point, file=sys.stderr, flush=True)
                with options.points.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(point._asdict()) + "\n")


def medians(points: Sequence[Point]) -> list[Point]:
    """Merge points that differ only in time into their median."""
    keys = dict.fromkeys(point[:-1] for point in points)
    return [Point(*key, statistics.median(p.step for p in points if p[:-1] == key)) for key in keys]


class Model:
    """The cost model with a host's measured arithmetic, for the CPU share of the points."""

    def __init__(self, points: Sequence[Point], data: Path) -> None:
        """Take the gradient's time from the points with one host, in proportion to the rows; the rest is measured."""
        self._jobs: dict[str, tuple[Callable[[int], Workload], Machine]] = {}
        data_set = load(data)
        for point in points:
            if point.hosts == 1:
                config, structure = settle(CASES[point.case].config(1), data_set, None)
                state = initial_state(structure, config)
                with one_thread():
                    machine = measure_machine(structure, config, data_set.train, state, 1, 1.0)
                machine = machine._replace(shard=point.step * point.cpus - machine.update)
                self._jobs[point.case] = partial(workload_of, config, structure, config.batch_size), machine

    def described(self) -> str:
        """Return the measured time of the arithmetic."""
        rows = [[case, *(f"{1000 * part:.2f}" for part in machine)] for case, (_, machine) in self._jobs.items()]
        return markdown(["case", "gradient ms", "addition ms", "update ms"], rows)

    def step(self, point: Point, costs: Costs) -> StepEstimate:
        """Return the model's prediction for a point."""
        make_job, machine = self._jobs[point.case]
        job, machine = make_job(point.hosts), machine._replace(shard=machine.shard / point.hosts)
        if point.wire == "float16":
            job = job._replace(wire_bytes=2, is_packed=True, factors=())
        link = 1000 * Setting(point.hosts, point.rate, point.cpus).bytes_per_ms
        servers = servers_for(None, point.hosts)
        slower = 1 / point.cpus
        return fastest_step(job, machine.slower(slower), link, point.hosts, servers, costs=costs.slower(slower))


def fit(points: Sequence[Point], model: Model) -> Costs:
    """Return the costs with the least relative errors, by least squares of their logarithms."""

    def errors(logarithms: np.ndarray) -> list[float]:
        costs = Costs(*np.exp(logarithms))
        return [float(np.log(model.step(point, costs).seconds / point.step)) for point in points]

    start = np.log(np.array(FITTED))
    return Costs(*np.exp(least_squares(errors, start, bounds=(start - 5, start + 4), diff_step=1e-3).x).tolist())


def table(points: Sequence[Point], model: Model, costs: Costs, checked: Sequence[int]) -> str:
    """Return a table of measured and predicted times."""
    rows = []
    for point in sorted(points):
        step = model.step(point, costs)
        rows.append(
            [
                point.case,
                point.wire,
                str(point.hosts),
                point.rate,
                f"{1000 * point.step:.1f}",
                f"{1000 * step.seconds:.1f}",
                f"{100 * (step.seconds / point.step - 1):+.0f} %",
                f"{step.link_bytes / 1e6:.2f}",
                ", ".join(map(str, step.factored)),
                "checked" if point.hosts in checked else "fitted",
            ]
        )
    return markdown(
        ["case", "wire", "hosts", "link", "measured ms", "model ms", "error", "MB per link", "factors", ""], rows
    )


def read_points(path: Path) -> Iterator[Point]:
    """Return the points of a file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield Point(**json.loads(line))


def main() -> int:
    """Measure or fit, and return the exit code."""
    options = _options()
    end_on_signals()
    try:
        if options.command == "measure":
            measure(options)
            return 0
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    points = medians(list(read_points(options.points)))
    model = Model(points, options.data)
    costs = fit([point for point in points if point.hosts not in (1, *options.check)], model)
    print(model.described(), table(points, model, costs, options.check), str(costs), sep="\n\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["measure", "fit"])
    parser.add_argument("points", type=Path, metavar="POINTS.jsonl")
    parser.add_argument("--hosts", type=int, default=2, metavar="N", help="to measure; default: %(default)s")
    parser.add_argument("--rate", default="1gbit", help="of each link; default: %(default)s")
    parser.add_argument("--cpus", type=float, default=0.5, metavar="SHARE", help="cores for each host; default: 0.5")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=["small", "mnist", "wide"], metavar="A,B")
    parser.add_argument("--wires", type=lambda text: text.split(","), default=["exact"], metavar="A,B")
    parser.add_argument(
        "--check", type=int, action="append", default=[], metavar="N", help="hosts that are predicted, not fitted"
    )
    parser.add_argument("--data", type=Path, default=default_data(), metavar="FOLDER", help="with the MNIST IDX files")
    options = parser.parse_args()
    if unknown := [case for case in options.cases if case not in STEPS]:
        parser.error(f"--cases knows {', '.join(STEPS)}; found {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
