"""Date parts in an ONNX graph, computed by integer arithmetic: year, month, day, weekday, hour, minute."""

from __future__ import annotations

import numpy as np

from distbp.interchange.onnx_graph import Graph

MISSING = np.iinfo(np.int64).min
"""The value of a missing date, as in NumPy's datetime64 (NaT)."""
_PER_DAY = 86_400
_DAYS_BEFORE_1970 = 719_468
"""Days from 1 March of year 0 to 1970. Counted from March, a year has its leap day last."""


def date_parts(graph: Graph, seconds: str) -> list[str]:
    """Return the parts of dates in the order of DATE_PARTS, as doubles, NaN where missing.

    ``seconds`` counts from 1970. The calendar is Gregorian from year 1 on (Hinnant, "chrono-compatible low-level date
    algorithms", 2013).
    """
    whole = _Integers(graph)
    missing = graph("Equal", seconds, whole.constant(MISSING))
    shifted = whole.sum(graph("Where", missing, whole.constant(0), seconds), _DAYS_BEFORE_1970 * _PER_DAY)
    days, second = whole.divided(shifted, _PER_DAY)
    era, day_of_era = whole.divided(days, 146_097)
    leaps = whole.sum(whole.quotient(day_of_era, 1_460), whole.quotient(day_of_era, 146_096))
    plain = whole.difference(whole.sum(day_of_era, whole.quotient(day_of_era, 36_524)), leaps)
    year_of_era = whole.quotient(plain, 365)
    before = whole.difference(
        whole.sum(whole.product(year_of_era, 365), whole.quotient(year_of_era, 4)), whole.quotient(year_of_era, 100)
    )
    day_of_year = whole.difference(day_of_era, before)
    since_march = whole.quotient(whole.sum(whole.product(day_of_year, 5), 2), 153)
    first = whole.quotient(whole.sum(whole.product(since_march, 153), 2), 5)
    day = whole.sum(whole.difference(day_of_year, first), 1)
    is_next = graph.cast(graph("Greater", since_march, whole.constant(9)), np.int64)
    month = whole.difference(whole.sum(since_march, 3), whole.product(is_next, 12))
    year = whole.sum(whole.sum(year_of_era, whole.product(era, 400)), is_next)
    _, weekday = whole.divided(whole.sum(days, 2), 7)
    hour, left = whole.divided(second, 3_600)
    unknown = graph.constant(np.nan, np.float64)
    parts = (year, month, day, weekday, hour, whole.quotient(left, 60))
    return [graph("Where", missing, unknown, graph.cast(part, np.float64)) for part in parts]


class _Integers:
    """Arithmetic of non-negative integers in a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def constant(self, number: int) -> str:
        return self._graph.constant(number, np.int64)

    def _of(self, operand: str | int) -> str:
        return self.constant(operand) if isinstance(operand, int) else operand

    def sum(self, one: str, other: str | int) -> str:
        return self._graph("Add", one, self._of(other))

    def difference(self, one: str, other: str) -> str:
        return self._graph("Sub", one, other)

    def product(self, one: str, other: int) -> str:
        return self._graph("Mul", one, self.constant(other))

    def quotient(self, one: str, other: int) -> str:
        return self._graph("Div", one, self.constant(other))

    def divided(self, one: str, other: int) -> tuple[str, str]:
        """Return quotient and remainder."""
        quotient = self.quotient(one, other)
        return quotient, self.difference(one, self.product(quotient, other))
