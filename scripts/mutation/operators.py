"""One-line faults by rule: each changes one node of a source's syntax tree.

The rules skip what tests need not cover: annotations, decorators, docstrings, assertions and the wording of errors.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
}
_COMPARED = r"is\s+not|not\s+in|is|in|<=|>=|==|!=|<|>"


@dataclass(frozen=True)
class Mutant:
    """One fault: its function, the change, and the file's text with it."""

    file: str
    function: str  # "" outside of functions
    rule: str
    change: str  # its lines before and after, "if a < b: -> if a <= b:", with "(2)" where a function has it twice
    first: int  # the lines of the statement that it is in
    last: int
    text: str

    @property
    def name(self) -> str:
        """The key of a mutant in the list of explained mutants."""
        return f"{self.file}::{self.function}"


class _Source:
    """A text with the positions of its syntax tree's nodes, in bytes of UTF-8."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        starts = [0]
        for line in self.data.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self._starts = starts

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def between(self, left: ast.expr, right: ast.expr, pattern: str) -> tuple[int, int]:
        """Return the position of the operator between two operands."""
        start, stop = self.span(left)[1], self.span(right)[0]
        match = re.search(pattern, re.sub(rb"#.*", lambda c: b" " * len(c[0]), self.data[start:stop]).decode())
        assert match, (pattern, self.data[start:stop])
        return start + match.start(), start + match.end()

    def changed(self, start: int, stop: int, new: str) -> str:
        """Return the lines of a change before and after it."""
        low = self.data.rfind(b"\n", 0, start) + 1
        high = self.data.find(b"\n", stop)
        before, after = self.data[low:start].decode(), self.data[stop:high].decode()
        parts = (self.data[start:stop].decode(), new)
        return " -> ".join(_one_line(before)[-70:].lstrip() + _one_line(part) + _one_line(after)[:50] for part in parts)


def mutants_of(file: str, text: str) -> list[Mutant]:
    """Return all mutants of a source file, in the order of its lines."""
    source = _Source(text)
    mutants: list[Mutant] = []
    times: Counter[tuple[str, str]] = Counter()
    for function, statement, node in _walk(ast.parse(text), "", None):
        for rule, (start, stop), new in _changes(node, source):
            change = source.changed(start, stop, new)
            times[function, change] += 1
            if times[function, change] > 1:
                change += f" ({times[function, change]})"
            first, last = _lines(statement)
            mutated = (source.data[:start] + new.encode() + source.data[stop:]).decode()
            mutants.append(Mutant(file, function, rule, change, first, last, mutated))
    return sorted(mutants, key=lambda mutant: mutant.first)


def is_program(text: str) -> bool:
    """Return whether Python compiles it: a few faults cannot even be imported."""
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _lines(statement: ast.stmt) -> tuple[int, int]:
    """Return the lines of a statement; of a compound statement, those before its body."""
    assert statement.end_lineno is not None
    body = getattr(statement, "body", None)
    if not body:
        return statement.lineno, statement.end_lineno
    return statement.lineno, max(statement.lineno, body[0].lineno - 1)


def _walk(
    node: ast.AST, function: str, statement: ast.stmt | None
) -> Iterator[tuple[str, ast.stmt, ast.expr | ast.stmt]]:
    """Yield every node that may be changed, with its function and its statement."""
    if _is_left_out(node):
        return
    if isinstance(node, ast.stmt):
        statement = node
    if isinstance(node, ast.expr | ast.stmt) and statement is not None:
        yield function, statement, node
    inner = function
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        inner = f"{function}.{node.name}".lstrip(".")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return  # one number: -2 for -1 is often equivalent (reshape), and another rule changes the sign
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_params", "decorator_list") or isinstance(node, ast.arg):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, inner, statement)


def _is_left_out(node: ast.AST) -> bool:
    """Return whether it is wording, an assertion, or a text of unknown position."""
    if isinstance(node, ast.keyword):
        return node.arg == "strict"  # zip's own assertion
    return isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)


_Change = tuple[str, tuple[int, int], str]
"""By which rule, which bytes, and what stands there then."""


def _changes(node: ast.expr | ast.stmt, source: _Source) -> Iterator[_Change]:
    """Yield the changes of one node."""
    yield from _changed_signs(node, source)
    yield from _changed_values(node, source)
    match node:
        case ast.If(test) | ast.While(test) | ast.IfExp(test):
            yield from _negated(test, source)
        case ast.Expr(ast.Call()):
            yield "remove call", source.span(node), "pass"
        case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", source.span(value), "None"


def _changed_signs(node: ast.expr | ast.stmt, source: _Source) -> Iterator[_Change]:
    match node:
        case ast.Compare(left, ops, comparators):
            for (one, other), op in zip(pairwise([left, *comparators]), ops, strict=True):
                yield "comparison", source.between(one, other, _COMPARED), _COMPARISONS[type(op)]
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC and not (_is_text(left) or _is_text(right)):
            sign, other_sign = _ARITHMETIC[type(op)]
            yield "arithmetic", source.between(left, right, re.escape(sign)), other_sign
        case ast.AugAssign(target, op, value) if type(op) in _ARITHMETIC and not _is_text(value):
            sign, other_sign = _ARITHMETIC[type(op)]
            yield "arithmetic", source.between(target, value, re.escape(sign) + "="), other_sign + "="
        case ast.BoolOp(op, values):
            word, other_word = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
            for one, other in pairwise(values):
                yield "boolean", source.between(one, other, rf"\b{word}\b"), other_word


def _changed_values(node: ast.expr | ast.stmt, source: _Source) -> Iterator[_Change]:
    match node:
        case ast.UnaryOp(ast.USub(), operand):
            yield "arithmetic", (source.span(node)[0], source.span(operand)[0]), ""
        case ast.UnaryOp(ast.Not(), operand):
            yield "condition", (source.span(node)[0], source.span(node)[0] + len("not")), ""
        case ast.Constant(bool() as value):
            yield "constant", source.span(node), str(not value)
        case ast.Constant(int() as value):
            yield "constant", source.span(node), str(value + 1)
        case ast.Constant(float() as value):
            yield "constant", source.span(node), repr(value * 2 if value else 1.0)


def _negated(test: ast.expr, source: _Source) -> Iterator[_Change]:
    """Yield the negated condition, unless another rule does the same."""
    is_simple = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.NotEq)
    is_turned = isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is | ast.IsNot | ast.In | ast.NotIn)
    is_not = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    if not (is_simple or is_turned or is_not):
        start, stop = source.span(test)
        yield "condition", (start, stop), f"not ({source.data[start:stop].decode()})"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def functions_of(text: str) -> dict[int, str]:
    """Return the name of the function that each line belongs to; lines outside of functions are left out."""
    names: dict[int, str] = {}

    def enter(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".lstrip(".")
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                assert child.end_lineno is not None
                names.update(dict.fromkeys(range(child.body[0].lineno, child.end_lineno + 1), inner))
            enter(child, inner)

    enter(ast.parse(text), "")
    return names
