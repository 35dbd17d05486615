"""stdout and stderr, also where whoever reads them has gone away."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress

import click


def say(text: str) -> None:
    """Print on stderr; a reader that has gone away must not end a run."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


def is_reader_gone() -> bool:
    """Return whether stdout is a pipe that is read no more."""
    if not hasattr(select, "poll"):  # Windows
        return True
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return False


def forget_stdout() -> None:
    """Let what is still to be printed on stdout go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
