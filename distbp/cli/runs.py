"""``distbp runs`` and ``distbp clean``: a list of runs, and the removal of what dead runs left behind."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.tables import aligned
from distbp.errors import RunError, UsageError

if TYPE_CHECKING:
    from distbp.files.locks import Watch
    from distbp.runs.listing import ListedRun

_MOST_SETTINGS = 6

_Removal = tuple[str, Path, Callable[[Path], None]]
"""Description, path, and the function that removes it."""


@click.command("runs")
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and run.")
def list_runs(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER (default: runs), newest first: state, result, time and the settings that differ.

    \b
    Example:
      distbp runs
      distbp runs experiments --json
    """
    from distbp.runs.comparison import different_settings
    from distbp.runs.listing import find_runs

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give the folder that contains the runs")
    runs = find_runs(folder)
    if as_json:
        for run in runs:
            click.echo(json.dumps(_described(run)))
        return
    if not runs:
        click.echo(f"no runs in {folder}", err=True)
        return
    names = [
        name
        for name in different_settings([run.settings for run in runs if run.settings])
        if name not in ("arithmetic", "data_sha256", "epochs")
    ]
    rows = [("run", "began", "state", "epochs", "result", "seconds", *names[:_MOST_SETTINGS])]
    rows += [_row(run, folder, names[:_MOST_SETTINGS]) for run in runs]
    for line in aligned([tuple(map(_printable, row)) for row in rows], left=True):
        click.echo(line)
    for run in runs:
        if run.damage:
            click.echo(_printable(run.damage), err=True)
    if len(names) > _MOST_SETTINGS:
        click.echo(_printable(f"the runs also differ in {', '.join(names[_MOST_SETTINGS:])}"), err=True)


def _described(run: ListedRun) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "state": run.state,
        "host": run.host,
        "began": run.began,
        "result": run.last,
        "settings": run.settings,
    }


def _row(run: ListedRun, folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    from distbp.cli.progress_state import SCORES

    last = run.last
    score = next((name for name in SCORES if isinstance(last.get(name), float)), None)
    epochs = last.get("epochs", last.get("epoch", 0))
    seconds = last.get("wall_seconds")
    return (
        str(run.path.relative_to(folder)),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.began)),
        _state(run),
        f"{epochs}/{run.settings.get('epochs', '?')}",
        "" if score is None else f"{score.removeprefix('test_')} {last[score]:.4f}",
        f"{seconds:.1f}" if isinstance(seconds, float) else "",
        *(_shortened(run.settings.get(name)) for name in names),
    )


def _state(run: ListedRun) -> str:
    return run.state if run.host is None else f"{run.state} (on {run.host})"


def _shortened(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return text if len(text) <= 24 else "…" + text[-23:]


def _printable(text: str) -> str:
    """Return text without control characters, which a folder's name may contain."""
    return "".join(each if each.isprintable() else "?" for each in text)


@click.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option(
    "--left",
    is_flag=True,
    help="Also include unfinished runs in FOLDER that no process is working on, and broken runs.",
)
@click.option("--finished", is_flag=True, help="Also include finished runs in FOLDER, with their models.")
@click.option("--cache", is_flag=True, help="Also include the data sets in train's automatic cache.")
@click.option("--yes", is_flag=True, help="Remove what is listed.")
@click.pass_context
def clean(ctx: click.Context, /, folder: Path, left: bool, finished: bool, cache: bool, yes: bool) -> None:
    """List what dead runs left in shared memory and temporary folders; with --yes, remove it.

    Removes only files that distbp created and that no live process owns: never a run that is still going on, here or
    on another host, nor a run directory that contains files distbp did not write. FOLDER contains the runs of --left
    and --finished.

    \b
    Example:
      distbp clean
      distbp clean runs --left --yes
    """
    from distbp.data.prepared.cache import cached_data_sets, remove_prepared
    from distbp.planning.doctor import memory_folders, size_of
    from distbp.system.folders import leftovers

    removals: list[_Removal] = [
        ("leftover of a dead run", each, shutil.rmtree) for base in memory_folders() for each in leftovers(base)
    ]
    if cache:
        removals += [("prepared data", each, partial(remove_prepared, note=_note)) for each in cached_data_sets()]
    states = {*(("left", "broken") if left else ()), *(("finished",) if finished else ())}
    if states:
        removals += _run_removals(folder, states)
    failed = False
    for what, path, remove in removals:
        size = size_of(path) / 1e6
        try:
            if yes:
                remove(path)
            click.echo(f"{'removed' if yes else 'would remove'} {what} {_printable(str(path))} ({size:,.1f} MB)")
        except (OSError, RunError) as error:
            failed = True
            click.echo(
                _printable(f"Error: {path} was not removed: {getattr(error, 'strerror', None) or error}"), err=True
            )
    if not removals:
        click.echo("nothing to remove", err=True)
    elif not yes:
        click.echo("nothing was removed: add --yes to remove these files", err=True)
    if failed:
        ctx.exit(1)


def _note(text: str) -> None:
    click.echo(_printable(f"note: {text}"), err=True)


def _run_removals(folder: Path, states: set[str]) -> list[_Removal]:
    """Return the removable runs in these states, and print why the others are kept."""
    from distbp.files.locks import dead_locks
    from distbp.runs.directory import LOCK
    from distbp.runs.listing import find_runs

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give the folder that contains the runs")
    runs = find_runs(folder)
    removals: list[_Removal] = []
    elsewhere = [run.path / LOCK for run in runs if run.host is not None and "left" in states]
    dead = dead_locks(elsewhere, _note)
    for run in runs:
        lock = run.path / LOCK
        if lock in elsewhere and lock not in dead:
            click.echo(_printable(f"kept: {run.path}, which is going on on {run.host}"), err=True)
            continue
        state = "left" if lock in dead else run.state
        if state in states and run.foreign_files:
            files = ", ".join(run.foreign_files)
            click.echo(_printable(f"kept: {run.path}, since distbp did not write {files}"), err=True)
        elif state in states:
            removals.append((f"{state} run", run.path, partial(_remove_run, watch=dead.get(lock))))
    return removals


def _remove_run(path: Path, watch: Watch | None) -> None:
    """Remove the directory of a run that no process holds; remove the lock file last."""
    from distbp.runs.directory import LOCK, lock_run

    with lock_run(path, _note, watch=watch):  # another process may have resumed the run meanwhile
        for each in path.iterdir():
            if each.name != LOCK:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    path.rmdir()
