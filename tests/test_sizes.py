"""What keeps the code easy to divide: short files, classes with few attributes, and no layout by hand."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import distbp

PACKAGE = Path(distbp.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 320
MOST_ATTRIBUTES = 12
MANY_BY_CONTRACT = {"Config", "TrainingOptions", "Settings", "DistbpClassifier", "DistbpRegressor", "BasePerceptron"}
"""Their attributes are the command's options and scikit-learn's parameters."""


def _attributes(owner: ast.ClassDef) -> set[str]:
    """Return the names that a class assigns to ``self``, and its annotated fields."""
    fields = {
        node.target.id for node in owner.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assigned = {
        node.attr
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    return fields | assigned


def _skipped(source: str) -> Iterator[int]:
    """Yield the lines at which the formatter is told to leave a call or a definition alone."""
    tree = ast.parse(source)
    tables = [
        range(node.lineno, node.end_lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Set) and node.end_lineno is not None
    ]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if (
            token.type == tokenize.COMMENT
            and "fmt: skip" in token.string
            and not any(line in table for table in tables)
        ):
            yield line


def test_files_have_about_300_lines_at_most() -> None:
    assert {str(file): lines for file in FILES if (lines := file.read_text().count("\n")) > MOST_LINES} == {}


def test_classes_have_few_attributes() -> None:
    classes = (
        node for file in FILES for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)
    )
    many = {owner.name: len(found) for owner in classes if len(found := _attributes(owner)) > MOST_ATTRIBUTES}
    assert {name: count for name, count in many.items() if name not in MANY_BY_CONTRACT} == {}


def test_the_formatter_lays_out_calls_and_definitions() -> None:
    assert [f"{file}:{line}" for file in FILES for line in _skipped(file.read_text())] == []
