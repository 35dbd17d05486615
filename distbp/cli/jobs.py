"""``distbp submit``, ``jobs``, ``logs``, ``stop`` and ``fetch``: runs on a cluster that is reached from outside."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from distbp.errors import ClusterError, DistbpError, TrainingError, UsageError


def _of_a_cluster(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which cluster, and who may reach it."""
    for option in (
        click.option("--insecure", is_flag=True, help="Also a cluster elsewhere that lets everybody run code."),
        click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE",
                     help="Holds the cluster's token.  [default: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH]"),
        click.option("--address", required=True, metavar="URL", help="The cluster's dashboard, http://HEAD:8265."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(context_settings={"ignore_unknown_options": True})
@_of_a_cluster
@click.option(
    "--upload", is_flag=True, help="Send DATA and --test-file along; else they are names or paths on the cluster."
)
@click.option("--storage", metavar="FOLDER", help="Where all hosts see it, for the run.  [default: ~/distbp-runs]")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Show the job's progress, then fetch it.")
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR", help="Fetch to here.  [default: runs/JOB]")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- train DATA...")
def submit(
    address: str, token_file: Path | None, insecure: bool, upload: bool, storage: str | None, follow: bool,
    run_dir: Path | None, arguments: tuple[str, ...],
) -> None:  # fmt: skip
    """Run ``distbp train`` on a Ray cluster through its job API; what stands behind -- is the command.

    The job runs on the cluster, so this machine may go away: ``jobs`` and ``logs`` find it again, ``fetch`` brings the
    run directory. A driver that is killed is started again and resumes.

    \b
    Example:
      distbp submit --address http://head:8265 -- train digits --workers 6 --epochs 50
    """
    from distbp.actors.connection.jobs import check_target
    from distbp.cli.streams import say

    data, options = _checked(arguments)
    if run_dir is not None:
        check_target(run_dir)
    jobs = _jobs(address, token_file, insecure)
    try:
        name = jobs.submit(options, data, upload, storage)
    except KeyboardInterrupt:
        say(f"distbp jobs --address {address} shows whether the job was submitted before this")
        raise
    say(f"submitted {name}")
    if not follow:
        click.echo(name)
        return
    target = run_dir or Path("runs") / name
    with _said_to_go_on(name, address):
        status = jobs.follow(name, lambda text: click.echo(text, nl=False, err=True))
    if status != "SUCCEEDED":
        raise TrainingError(f"job {name} {status.lower()}: see distbp logs {name} --address {address}")
    try:
        jobs.fetch(name, target)
    except (DistbpError, KeyboardInterrupt):
        say(f"the run is on the cluster: distbp fetch {name} --address {address} -o {shlex.quote(str(target))}")
        raise
    click.echo(target)


@contextmanager
def _said_to_go_on(name: str, address: str) -> Iterator[None]:
    """Say, where a job is no longer followed, that it goes on all the same, and how to see and to end it."""
    from distbp.cli.streams import say

    try:
        yield
    except (ClusterError, KeyboardInterrupt):
        say(
            f"\n{name} goes on without this command: distbp logs {name} --address {address} --follow shows it, "
            f"distbp stop {name} --address {address} ends it"
        )
        raise


def _checked(arguments: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return DATA and the options of a ``train`` command, checked here before anything travels."""
    from distbp.cli.options import settings_options
    from distbp.cli.train import train
    from distbp.config import Config, words_of

    command, *rest = arguments
    if command != "train":
        raise UsageError(f"what is submitted must be train, found {command!r}")
    context = train.make_context("train", list(rest))
    given = dict(context.params)
    data = list(given.pop("data"))
    if given.pop("run_dir") is not None or any(given.get(name) for name in ("resume", "force", "take_over")):
        raise UsageError("--run-dir and --resume belong to submit itself: the job resumes by itself")
    names = {option.name for option in settings_options(lambda: None).__click_params__} - {"config_file"}  # type: ignore[attr-defined]
    Config.from_settings({name: value for name, value in given.items() if name in names})
    # what a settings file says travels as options, since the file stays here
    told = train.make_parser(context).parse_args(list(rest))[0]
    if told.get("quiet") or told.get("as_json"):
        raise UsageError("--quiet and --json are for runs on this machine: leave them out behind --")
    said = {**(context.default_map or {}), **told}
    words: list[str] = []
    for option in train.params:
        value = said.get(option.name) if option.name in names else None
        is_off = value is False and not option.secondary_opts  # a flag that has no opposite
        words += words_of(str(option.name), value) if value is not None and not is_off else []
    return data, words


@click.command("jobs")
@_of_a_cluster
def list_jobs(address: str, token_file: Path | None, insecure: bool) -> None:
    """List the jobs of a cluster, newest first: name, status, start.

    \b
    Example:
      distbp jobs --address http://head:8265
    """
    for name, status, start in _jobs(address, token_file, insecure).all():
        click.echo(f"{name}  {status:9}  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(start))}")


@click.command()
@click.argument("job")
@_of_a_cluster
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
def logs(job: str, address: str, token_file: Path | None, insecure: bool, follow: bool) -> None:
    """Print what JOB has said.

    \b
    Example:
      distbp logs distbp-20261123-181500-a1b2 --address http://head:8265 --follow
    """
    jobs = _jobs(address, token_file, insecure)
    if follow:
        with _said_to_go_on(job, address):
            jobs.follow(job, lambda text: click.echo(text, nl=False))
    else:
        click.echo(jobs.logs(job), nl=False)


@click.command()
@click.argument("job")
@_of_a_cluster
def stop(job: str, address: str, token_file: Path | None, insecure: bool) -> None:
    """End JOB; its run keeps its checkpoints.

    \b
    Example:
      distbp stop distbp-20261123-181500-a1b2 --address http://head:8265
    """
    _jobs(address, token_file, insecure).stop(job)


@click.command()
@click.argument("job")
@_of_a_cluster
@click.option("--checkpoints", is_flag=True, help="Also the checkpoints, to go on with the run here.")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="Fetch to here.  [default: runs/JOB]")
def fetch(job: str, address: str, token_file: Path | None, insecure: bool, checkpoints: bool, out: Path | None) -> None:
    """Bring the run directory of JOB here.

    \b
    Example:
      distbp fetch distbp-20261123-181500-a1b2 --address http://head:8265 -o my-run
    """
    target = out or Path("runs") / job
    _jobs(address, token_file, insecure).fetch(job, target, checkpoints)
    click.echo(target)


def _jobs(address: str, token_file: Path | None, insecure: bool) -> Any:
    from distbp.actors.connection.jobs import Jobs

    return Jobs(address, token_file, insecure)
