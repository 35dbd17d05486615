"""The generated parts of the READMEs; run as a script it writes them."""

import ast
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import click

from distbp.cli import commands

TOP = Path(__file__).parents[1]
_END = "<!-- end -->"
_WIDTH = 110


def all_commands() -> dict[str, click.Command]:
    """Return every command by its name."""
    context = click.Context(commands)
    found = {name: commands.get_command(context, name) for name in commands.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def command_help() -> str:
    """Return the help of every command."""
    parts = []
    for name, command in all_commands().items():
        command._help_option = None  # Click keeps the one of its first context, which may have been another
        context = click.Context(
            command, info_name=f"distbp {name}", terminal_width=_WIDTH, help_option_names=["-h", "--help"]
        )
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## distbp {name}\n\n```text\n{text}\n```")
    return "\n\n".join(parts)


def layers() -> str:
    """Return the layers of the import contract, from the top, each package with the first line of its docstring."""
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (order,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["distbp"])
    lines = ["| layer | holds |", "| --- | --- |"]
    for layer in order:
        for number, name in enumerate(layer.split(" | ")):
            folder = TOP / "distbp" / name
            is_package = folder.is_dir()
            source = (folder / "__init__.py" if is_package else folder.with_suffix(".py")).read_text()
            first = (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]
            link = f"[`{name}`]({name}{'/' if is_package else '.py'})"
            lines.append(f"| {'beside it: ' if number else ''}{link} | {first} |")
    return "\n".join(lines)


PARTS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("distbp/README.md", "layers", layers),
    ("distbp/cli/README.md", "help", command_help),
)
"""File, name and content of each generated part."""


def part_in(readme: str, name: str) -> str:
    """Return what a README has between the marks of a part."""
    (part,) = re.findall(rf"<!-- generated: {name} -->\n(.*?){_END}", readme, re.DOTALL)
    return str(part).strip()


if __name__ == "__main__":
    for file, name, content in PARTS:
        before = (TOP / file).read_text(encoding="utf-8")
        start, end = f"<!-- generated: {name} -->\n", f"\n{_END}"
        head, rest = before.split(start)
        after = f"{head}{start}{content()}{end}{rest.split(_END, 1)[1]}"
        (TOP / file).write_text(after, encoding="utf-8")
