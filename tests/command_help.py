"""The generated help of every command, as README has it; run as a script it brings README up to date."""

import re
from pathlib import Path

import click

from distbp.cli import commands

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- the help of every command begins: python tests/command_help.py writes it -->", "<!-- it ends -->"
_WIDTH = 110


def help_of_all() -> str:
    """Return what stands between the marks."""
    parts = []
    for name, command in commands.commands.items():
        command._help_option = None  # Click keeps the one of the first context, which may have been another
        context = click.Context(
            command, info_name=f"distbp {name}", terminal_width=_WIDTH, help_option_names=["-h", "--help"]
        )
        lines = [line.rstrip() for line in command.get_help(context).splitlines()]
        parts.append("\n".join([f"<details><summary><code>distbp {name}</code></summary>", "", "```text", *lines,
                                "```", "", "</details>"]))  # fmt: skip
    return "\n\n" + "\n\n".join(parts) + "\n\n"


def help_in(readme: str) -> str:
    """Return what a README has between the marks."""
    return re.split(f"{re.escape(BEGIN)}|{re.escape(END)}", readme)[1]


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(text.replace(help_in(text), help_of_all()), encoding="utf-8")
