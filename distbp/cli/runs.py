"""``distbp runs`` and ``distbp clean``: what is there of runs, and what of it may go."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distbp.errors import RunError, UsageError

if TYPE_CHECKING:
    from distbp.files.locks import Watch
    from distbp.runs.listing import ListedRun

_QUALITIES = ("test_accuracy", "test_r2", "test_rmse")
_MOST_SETTINGS = 6


@click.command("runs")
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per run on a line.")
def list_runs(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER (default: runs), newest first: result, time, and the settings that differ.

    \b
    Example:
      distbp runs
      distbp runs experiments --json
    """
    from distbp.runs.comparison import different_settings
    from distbp.runs.listing import find_runs

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name the one that holds the runs")
    found = find_runs(folder)
    if as_json:
        for run in found:
            click.echo(json.dumps({"run": str(run.path), "state": run.state, "host": run.host, "began": run.began,
                                   "result": run.last, "settings": run.settings}))  # fmt: skip
        return
    names = [name for name in different_settings([run.settings for run in found if run.settings])
             if name not in ("arithmetic", "data_sha256", "epochs")]  # fmt: skip
    if not found:
        click.echo(f"no runs in {folder}", err=True)
        return
    rows = [("run", "began", "state", "epochs", "result", "seconds", *names[:_MOST_SETTINGS])]
    rows += [_row(run, folder, names[:_MOST_SETTINGS]) for run in found]
    rows = [tuple(map(_plain, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for run in found:
        if run.damage:
            click.echo(_plain(run.damage), err=True)
    if len(names) > _MOST_SETTINGS:
        click.echo(_plain(f"they also differ in {', '.join(names[_MOST_SETTINGS:])}"), err=True)


def _row(run: ListedRun, folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    last = run.last
    quality = next((f"{name.removeprefix('test_')} {last[name]:.4f}" for name in _QUALITIES
                    if isinstance(last.get(name), float)), "")  # fmt: skip
    epochs = last.get("epochs", last.get("epoch", 0))
    seconds = last.get("wall_seconds")
    return (
        str(run.path.relative_to(folder)), time.strftime("%Y-%m-%d %H:%M", time.localtime(run.began)), _state(run),
        f"{epochs}/{run.settings.get('epochs', '?')}", quality,
        f"{seconds:.1f}" if isinstance(seconds, float) else "", *(_shown(run.settings.get(name)) for name in names),
    )  # fmt: skip


def _state(run: ListedRun) -> str:
    return run.state if run.host is None else f"{run.state} (on {run.host})"


def _shown(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return text if len(text) <= 24 else "…" + text[-23:]


def _plain(text: str) -> str:
    """Return text that does nothing to a terminal, whoever gave a folder its name."""
    return "".join(each if each.isprintable() else "?" for each in text)


@click.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--left", is_flag=True, help="Also runs in FOLDER that were left before their end, or are broken.")
@click.option("--finished", is_flag=True, help="Also finished runs in FOLDER, with their models.")
@click.option("--cache", is_flag=True, help="Also the data sets that train has prepared by itself.")
@click.option("--yes", is_flag=True, help="Remove it; without this only say what would go.")
@click.pass_context
def clean(ctx: click.Context, /, folder: Path, left: bool, finished: bool, cache: bool, yes: bool) -> None:
    """Say what of dead runs may go, or remove it with --yes: shared memory and temporary folders; more by options.

    Goes only what is proved to be distbp's and nobody's: a run that is going on, here or on another host, stays, and
    so does a run directory with files that distbp did not write.

    \b
    Example:
      distbp clean
      distbp clean runs --left --yes
    """
    from distbp.data.prepared.cache import cached_data_sets, remove_prepared
    from distbp.planning.doctor import memory_folders, size_of
    from distbp.system.folders import leftovers

    going: list[tuple[str, Path, Callable[[Path], None]]] = [
        ("leftover of a dead run", each, shutil.rmtree) for base in memory_folders() for each in leftovers(base)
    ]
    going += [
        ("prepared data", each, partial(remove_prepared, note=_say)) for each in (cached_data_sets() if cache else ())
    ]
    states = {*(("left", "broken") if left else ()), *(("finished",) if finished else ())}
    if states:
        going += _of_runs(folder, states)
    failed = False
    for what, path, remove in going:
        size = size_of(path) / 1e6
        try:
            if yes:
                remove(path)
            click.echo(f"{'removed' if yes else 'would remove'} {what} {_plain(str(path))} ({size:,.1f} MB)")
        except (OSError, RunError) as error:
            failed = True
            click.echo(_plain(f"Error: {path} stays: {getattr(error, 'strerror', None) or error}"), err=True)
    if not going:
        click.echo("nothing to remove", err=True)
    elif not yes:
        click.echo("nothing was removed; --yes removes it", err=True)
    if failed:
        ctx.exit(1)


def _say(text: str) -> None:
    click.echo(_plain(f"note: {text}"), err=True)


def _of_runs(folder: Path, states: set[str]) -> list[tuple[str, Path, Callable[[Path], None]]]:
    """Return the runs of these states that may go, and say which stay, and why."""
    from distbp.files.locks import dead_locks
    from distbp.runs.directory import LOCK
    from distbp.runs.listing import find_runs

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name the one that holds the runs")
    runs = find_runs(folder)
    going: list[tuple[str, Path, Callable[[Path], None]]] = []
    elsewhere = [run.path / LOCK for run in runs if run.host is not None and "left" in states]
    dead = dead_locks(elsewhere, _say)
    for run in runs:
        lock = run.path / LOCK
        if lock in elsewhere and lock not in dead:
            click.echo(_plain(f"stays: {run.path} is going on on {run.host}"), err=True)
            continue
        state = "left" if lock in dead else run.state
        if state in states and run.foreign_files:
            strangers = ", ".join(run.foreign_files)
            click.echo(_plain(f"stays: {run.path} holds {strangers}, which distbp did not write"), err=True)
        elif state in states:
            going.append((f"{state} run", run.path, partial(_remove_run, watch=dead.get(lock))))
    return going


def _remove_run(path: Path, watch: Watch | None) -> None:
    """Remove a run that no process holds; its lock goes last."""
    from distbp.runs.directory import LOCK, lock_run

    with lock_run(path, _say, watch=watch):  # it may have gone on since it was looked at
        for each in path.iterdir():
            if each.name != LOCK:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    path.rmdir()
