"""The command line: options to settings, settings to one library call, and the only code that prints.

Exit codes: 0 done, 1 the run failed, 2 bad usage, 130 interrupted. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from distbp.cli.apply import evaluate, predict
from distbp.cli.bench import bench
from distbp.cli.compare import diff, verify
from distbp.cli.doctor import doctor
from distbp.cli.export import export
from distbp.cli.inspect import gradcheck, inspect
from distbp.cli.jobs import fetch, list_jobs, logs, stop, submit
from distbp.cli.plan import plan
from distbp.cli.prepare import prepare
from distbp.cli.report import report
from distbp.cli.resume import resume
from distbp.cli.runs import clean, list_runs
from distbp.cli.train import train
from distbp.errors import DistbpError, HeadLostError, Interrupted, RunError, UsageError, unknown_name
from distbp.version import __version__

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130


class _Commands(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown_name("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="distbp")
def commands() -> None:
    """Train dense neural networks by data-parallel SGD; the number of workers never changes the result.

    \b
    Example:
      distbp train digits --workers 2
    """


_COMMANDS = (
    train, prepare, resume, verify, diff, evaluate, predict, export, inspect, gradcheck,
    report, bench, plan, doctor, list_runs, clean, submit, list_jobs, logs, stop, fetch,
)  # fmt: skip
for command in _COMMANDS:
    commands.add_command(command)


def run(arguments: Sequence[str], started: float) -> int:
    """Run one command and return its exit code; errors that are the user's become one line on stderr."""
    try:
        _check_current_folder()
        code = commands.main(list(arguments), prog_name="distbp", standalone_mode=False, obj=started)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except DistbpError as error:
        click.echo(f"Error: {error}", err=True)
        if isinstance(error, Interrupted):
            return INTERRUPTED
        if isinstance(error, HeadLostError):
            sys.stdout.flush()
            os._exit(FAILED)  # at the interpreter's end Ray would ask its head, for minutes if that is cut off
        return BAD_USAGE if isinstance(error, UsageError) else FAILED
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to say, also not at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (OSError, MemoryError) as error:
        click.echo(f"Error: {str(error).splitlines()[0] if str(error) else 'out of memory'}", err=True)
        return FAILED


def _check_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise RunError("the current folder was removed: go to another one (cd)") from None
