"""scripts/mutants itself: which faults its rules make, and which lines belong to which tests."""

import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
SOURCE = '''\
def clipped(x: int = 1, most: float = 0.5) -> float:
    """Return at most 3."""
    if x < most and not x == 2:
        raise ValueError(f"{x + 1} is not 4")
    log(x)
    return -x + 2.0
'''


def loaded(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS / folder)
    sys.modules.pop(name, None)
    module = __import__(name)
    monkeypatch.delitem(sys.modules, name)
    return module


def test_each_rule_changes_one_place_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    operators = loaded("mutation", "operators", monkeypatch)
    mutants = operators.mutants_of("a.py", SOURCE)
    lines = SOURCE.splitlines()
    changed = {}
    for mutant in mutants:
        new = mutant.text.splitlines()
        (number,) = [number for number, line in enumerate(new) if line != lines[number]]
        changed.setdefault(mutant.rule, []).append(new[number].strip())
    assert changed == {
        "constant": [
            "def clipped(x: int = 2, most: float = 0.5) -> float:",
            "def clipped(x: int = 1, most: float = 1.0) -> float:",
            "if x < most and not x == 3:",
            "return -x + 4.0",
        ],
        "comparison": ["if x <= most and not x == 2:", "if x < most and not x != 2:"],
        "boolean": ["if x < most or not x == 2:"],
        "condition": ["if not (x < most and not x == 2):", "if x < most and  x == 2:"],
        "remove call": ["pass"],
        "return": ["return None"],
        "arithmetic": ["return -x - 2.0", "return x + 2.0"],
    }
    assert {mutant.function for mutant in mutants} == {"clipped"}


def test_a_fault_has_a_unique_name_even_if_its_function_has_it_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operators = loaded("mutation", "operators", monkeypatch)
    twice = "class A:\n    def f(self):\n        x += 1\n        x += 1\n"
    names = [(mutant.name, mutant.change) for mutant in operators.mutants_of("a.py", twice)]
    assert names == [
        ("a.py::A.f", "x += 1 -> x -= 1"),
        ("a.py::A.f", "x += 1 -> x += 2"),
        ("a.py::A.f", "x += 1 -> x -= 1 (2)"),
        ("a.py::A.f", "x += 1 -> x += 2 (2)"),
    ]


def test_every_known_fault_matches_the_code_once() -> None:
    """Where this fails, bring scripts/mutation/known.toml up to the code that has changed."""
    known = tomllib.loads((SCRIPTS / "mutation" / "known.toml").read_text())["fault"]
    assert known
    root = SCRIPTS.parent
    gone = [fault["says"] for fault in known if (root / fault["file"]).read_text().count(fault["search"]) != 1]
    assert gone == []


def test_the_table_of_coverage_sums_packages_and_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    table = loaded("covered", "table", monkeypatch)

    def file(*counts: int) -> dict[str, dict[str, int]]:
        names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
        return {"summary": dict(zip(names, counts, strict=True))}

    files = {
        "distbp/nn/a.py": file(1, 2, 3, 4),
        "distbp/nn/b.py": file(5, 6, 7, 8),
        "distbp/errors.py": file(0, 1, 0, 0),
    }
    found = {name: tuple(counts.values()) for name, counts in table.per_package(files).items()}
    assert list(found) == ["distbp.errors", "distbp.nn", "all"]
    assert found["distbp.nn"] == (6, 8, 10, 12)
    assert found["all"] == (6, 9, 10, 12)
