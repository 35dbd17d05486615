"""The data that a caller passes, read once."""

from __future__ import annotations

from collections.abc import Sequence

from distbp.data.dataset import DataSet
from distbp.data.loading import load_as
from distbp.data.reading import Reading
from distbp.data.reporting import Note, Progress
from distbp.data.sizes import is_large
from distbp.data.sources import Source, address_of


class Sources:
    """Holds the caller's data until they are read, and then releases them.

    Functions that run as long as the run hold this object instead of the data: once the workers have their own copy of
    the rows, that of this process can be freed.
    """

    def __init__(self, data: Source | Sequence[Source]) -> None:
        """``data`` is one source, or a list of sources."""
        self._sources: list[Source] = list(data) if isinstance(data, list) else [data]
        self.addresses: list[str] = [address_of(source) for source in self._sources]
        """Where each source can be read again; ``arrays`` for data of the calling program."""

    @property
    def is_large(self) -> bool:
        """Whether reading them takes minutes."""
        return is_large(self._sources)

    def read(self, reading: Reading, note: Note, progress: Progress) -> DataSet:
        """Read the data and forget the sources.

        Raises:
            UsageError: a source is not known.
            DataError: the data cannot be used.
        """
        sources, self._sources = self._sources, []
        return load_as(sources, reading, note, progress)
