"""Output on stdout and stderr that tolerates a closed pipe."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress

import click


def echo_stderr(text: str) -> None:
    """Print a line on stderr; a closed stderr does not end a run."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


def is_reader_gone() -> bool:
    """Return whether stdout is a pipe whose reading end is closed."""
    if not hasattr(select, "poll"):  # Windows has no poll
        return True
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return False


def discard_stdout() -> None:
    """Redirect stdout to /dev/null, so that output still in its buffer raises no error."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
