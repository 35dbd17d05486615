"""The command line: each command turns its options into settings and calls one library function. Only it prints.

Exit codes: 0 done, 1 the run failed, 2 bad usage, 130 interrupted. Results go to stdout, everything else to stderr. If
the reader of stdout exits (``| head``), a run continues to its end and any other command stops, both without an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from distbp.cli.streams import discard_stdout, echo_stderr, is_reader_gone
from distbp.errors import DistbpError, Interrupted, RunError, UsageError, shortened, unknown_name
from distbp.system.signals import interrupts
from distbp.version import __version__

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130

_HOMES = {
    "train": "train",
    "prepare": "prepare",
    "resume": "resume",
    "verify": "compare",
    "diff": "compare",
    "evaluate": "evaluate",
    "predict": "predict",
    "export": "export",
    "inspect": "inspect",
    "gradcheck": "gradcheck",
    "report": "report",
    "bench": "bench",
    "plan": "plan",
    "doctor": "doctor",
    "runs": "runs",
    "clean": "runs",
    "submit": "jobs",
    "jobs": "jobs",
    "logs": "jobs",
    "stop": "jobs",
    "fetch": "jobs",
}
"""The module of each command below distbp.cli. A command loads its own alone: all of them would take 20 ms."""


class _Commands(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _HOMES:
            raise unknown_name("command", args[0], _HOMES)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOMES:
            return None
        loaded = vars(import_module(f"distbp.cli.{_HOMES[cmd_name]}")).values()
        return next(each for each in loaded if isinstance(each, click.Command) and each.name == cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # inside the try block, which handles a reader that has exited
            return result
        except BrokenPipeError as error:
            if is_reader_gone():
                raise
            raise click.ClickException(str(error)) from error  # Click would exit without a message


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="distbp")
def commands() -> None:
    """Train dense neural networks by data-parallel SGD; the number of workers never changes the result.

    \b
    Example:
      distbp train digits --workers 2
    """


def run(arguments: Sequence[str], started: float) -> int:
    """Run one command and return its exit code; print a user's error as one line on stderr."""
    interrupts.clear()
    try:
        _check_current_folder()
        code = commands.main(list(arguments), prog_name="distbp", standalone_mode=False, obj=started)
        return code if isinstance(code, int) else 0
    except (click.Abort, KeyboardInterrupt):
        echo_stderr("interrupted")
        return INTERRUPTED
    except SystemExit:  # raised by Click when stdout's reader has exited
        discard_stdout()
        return 0
    except Exception as error:
        if interrupts:  # a library may turn the interrupt into another error, such as ImportError
            echo_stderr("interrupted")
            return INTERRUPTED
        return _print_error(error)


def _print_error(error: Exception) -> int:
    """Print a user's error in one line and return the exit code.

    Raises:
        Exception: the error is a bug.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.ClickException):
        echo_stderr(f"Error: {shortened(error.format_message())}")
        return error.exit_code
    if isinstance(error, DistbpError):
        echo_stderr(f"Error: {error}")
        if isinstance(error, Interrupted):
            return INTERRUPTED
        return BAD_USAGE if isinstance(error, UsageError) else FAILED
    if isinstance(error, OSError | MemoryError):
        echo_stderr(f"Error: {str(error).splitlines()[0] if str(error) else 'out of memory'}")
        return FAILED
    raise error


def _check_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise RunError("the current folder was removed: change to another one (cd)") from None
