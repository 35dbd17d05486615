"""The number of workers of a run: fixed, a range, or still to be measured."""

from __future__ import annotations

from dataclasses import dataclass

from distbp.errors import UsageError, brief

_MOST = 1_000_000_000


@dataclass(frozen=True)
class Workers:
    """A number of workers, a range of numbers, or ``auto``.

    >>> Workers("2..6").least, Workers("2..6").most, Workers(3).most, Workers("auto").is_auto
    (2, 6, 3, True)
    """

    written: int | str
    """The number, ``auto`` or ``A..B``, as on the command line and in config.json."""

    def __post_init__(self) -> None:
        """Check the form.

        Raises:
            UsageError: it is neither a number, nor auto, nor a range.
        """
        least, dots, most = self.written.partition("..") if isinstance(self.written, str) else ("", "", "")
        are_numbers = dots and least.isdecimal() and most.isdecimal() and len(most) < len(str(_MOST))
        if self.is_auto or (are_numbers and len(least) <= len(most) and 1 <= int(least) <= int(most)):
            return
        if not isinstance(self.written, int) or isinstance(self.written, bool) or not 0 <= self.written <= _MOST:
            expected = "a whole number of at least 0, auto, or a range such as 2..6"
            raise UsageError(f"workers must be {expected}; found {brief(self.written)}")

    @classmethod
    def of(cls, written: int | str | Workers) -> Workers:
        """Return the value object for a setting in any of its forms."""
        return written if isinstance(written, Workers) else cls(written)

    def __str__(self) -> str:
        return str(self.written)

    @property
    def is_auto(self) -> bool:
        """Whether the number is still to be measured, or to follow from the cluster."""
        return self.written == "auto"

    @property
    def in_process(self) -> bool:
        """Whether the calling process computes alone, without Ray."""
        return self.written == 0

    @property
    def least(self) -> int:
        """The number of workers that a run needs to begin."""
        return self._range()[0]

    @property
    def most(self) -> int:
        """The largest number of workers that a run uses."""
        return self._range()[1]

    def _range(self) -> tuple[int, int]:
        if isinstance(self.written, int):
            return self.written, self.written
        if self.is_auto:
            raise ValueError("the number of workers is still open")
        least, _, most = self.written.partition("..")
        return int(least), int(most)
