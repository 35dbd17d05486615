"""``distbp submit``, ``jobs``, ``logs``, ``stop`` and ``fetch``: runs as jobs of a remote Ray cluster."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from distbp.errors import ClusterError, DistbpError, TrainingError, UsageError


def _cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the cluster's address and access to it."""
    insecure = click.option(
        "--insecure", is_flag=True, help="Also accept a remote cluster without a token, on which anyone can run code."
    )
    token_file = click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File with the cluster's token.  [default: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH]",
    )
    address = click.option(
        "--address", required=True, metavar="URL", help="Address of the cluster's dashboard: http://HEAD:8265."
    )
    return address(token_file(insecure(command)))


@click.command(context_settings={"ignore_unknown_options": True})
@_cluster_options
@click.option(
    "--upload",
    is_flag=True,
    help="Upload DATA and --test-file. Without this option they are names or paths on the cluster.",
)
@click.option(
    "--storage", metavar="FOLDER", help="Folder for the run that all hosts can access.  [default: ~/distbp-runs]"
)
@click.option(
    "--follow/--no-follow", default=True, show_default=True, help="Show the job's progress, then fetch the run."
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Local directory for the fetched run.  [default: runs/JOB]",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- train DATA...")
def submit(
    address: str,
    token_file: Path | None,
    insecure: bool,
    upload: bool,
    storage: str | None,
    follow: bool,
    run_dir: Path | None,
    arguments: tuple[str, ...],
) -> None:
    """Run ``distbp train`` as a job of a Ray cluster. The arguments after -- are the command.

    The job runs on the cluster, so this machine may disconnect: ``jobs`` and ``logs`` show the job later, ``fetch``
    downloads its run directory. A killed driver is restarted and resumes the run.

    \b
    Example:
      distbp submit --address http://head:8265 -- train digits --workers 6 --epochs 50
    """
    from distbp.actors.connection.jobs import check_target
    from distbp.cli.streams import echo_stderr

    data, options = _train_arguments(arguments)
    if run_dir is not None:
        check_target(run_dir)
    jobs = _jobs(address, token_file, insecure)
    try:
        name = jobs.submit(options, data, upload, storage)
    except KeyboardInterrupt:
        echo_stderr(f"the job may have been submitted: distbp jobs --address {address} lists the cluster's jobs")
        raise
    echo_stderr(f"submitted {name}")
    if not follow:
        click.echo(name)
        return
    target = run_dir or Path("runs") / name
    with _note_if_unfollowed(name, address):
        status = jobs.follow(name, lambda text: click.echo(text, nl=False, err=True))
    if status != "SUCCEEDED":
        raise TrainingError(f"job {name} {status.lower()}: see distbp logs {name} --address {address}")
    try:
        jobs.fetch(name, target)
    except (DistbpError, KeyboardInterrupt):
        fetch_again = f"distbp fetch {name} --address {address} -o {shlex.quote(str(target))}"
        echo_stderr(f"the run is on the cluster; {fetch_again} downloads it")
        raise
    click.echo(target)


@contextmanager
def _note_if_unfollowed(name: str, address: str) -> Iterator[None]:
    """If the command stops following a job, print that the job continues, and how to follow and stop it."""
    from distbp.cli.streams import echo_stderr

    try:
        yield
    except (ClusterError, KeyboardInterrupt):
        echo_stderr(
            f"\n{name} continues on the cluster: distbp logs {name} --address {address} --follow shows its progress, "
            f"distbp stop {name} --address {address} stops it"
        )
        raise


def _train_arguments(arguments: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return DATA and the options of a ``train`` command, checked before anything is uploaded."""
    from distbp.cli.options import settings_options
    from distbp.cli.train import train
    from distbp.config import Config, words_of

    command, *rest = arguments
    if command != "train":
        raise UsageError(f"only train can be submitted, found {command!r}")
    context = train.make_context("train", list(rest))
    values = dict(context.params)
    data = list(values.pop("data"))
    if values.pop("run_dir") is not None or any(values.get(name) for name in ("resume", "force", "take_over")):
        raise UsageError(
            "a submitted train takes no --run-dir or --resume: give --run-dir to submit; the job resumes by itself"
        )
    names = {option.name for option in settings_options(lambda: None).__click_params__} - {"config_file"}  # type: ignore[attr-defined]
    Config.from_settings({name: value for name, value in values.items() if name in names})
    # the settings of a --config file are sent as options, since the job cannot read the file
    parsed = train.make_parser(context).parse_args(list(rest))[0]
    if parsed.get("quiet") or parsed.get("as_json"):
        raise UsageError("--quiet and --json are for runs on this machine: remove them after --")
    explicit = {**(context.default_map or {}), **parsed}
    words: list[str] = []
    for option in train.params:
        value = explicit.get(option.name) if option.name in names else None
        is_off = value is False and not option.secondary_opts  # a flag without a --no- form
        words += words_of(str(option.name), value) if value is not None and not is_off else []
    return data, words


@click.command("jobs")
@_cluster_options
def list_jobs(address: str, token_file: Path | None, insecure: bool) -> None:
    """List the jobs of a cluster, newest first: name, status, start time.

    \b
    Example:
      distbp jobs --address http://head:8265
    """
    for name, status, start in _jobs(address, token_file, insecure).all():
        click.echo(f"{name}  {status:9}  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(start))}")


@click.command()
@click.argument("job")
@_cluster_options
@click.option("--follow", is_flag=True, help="Follow the log until the job ends.")
def logs(job: str, address: str, token_file: Path | None, insecure: bool, follow: bool) -> None:
    """Print the log of JOB.

    \b
    Example:
      distbp logs distbp-20261123-181500-a1b2 --address http://head:8265 --follow
    """
    jobs = _jobs(address, token_file, insecure)
    if follow:
        with _note_if_unfollowed(job, address):
            jobs.follow(job, lambda text: click.echo(text, nl=False))
    else:
        click.echo(jobs.logs(job), nl=False)


@click.command()
@click.argument("job")
@_cluster_options
def stop(job: str, address: str, token_file: Path | None, insecure: bool) -> None:
    """Stop JOB. Its run keeps its checkpoints.

    \b
    Example:
      distbp stop distbp-20261123-181500-a1b2 --address http://head:8265
    """
    _jobs(address, token_file, insecure).stop(job)


@click.command()
@click.argument("job")
@_cluster_options
@click.option("--checkpoints", is_flag=True, help="Also download the checkpoints, to resume the run on this machine.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="Directory to write.  [default: runs/JOB]"
)
def fetch(job: str, address: str, token_file: Path | None, insecure: bool, checkpoints: bool, out: Path | None) -> None:
    """Download the run directory of JOB.

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
