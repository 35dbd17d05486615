"""Data sets: the rows that a run trains on, from any source, and the order in which it uses them.

- Loading: :mod:`.loading` turns :mod:`.sources` into a :mod:`.dataset`; :mod:`.reading` has the settings of it.
- Reading a table: :mod:`.formats` (its text, its columns, the kinds of its cells), then :mod:`.tables` (from cells to
  rows; :mod:`.tables.schema` settles the role and the kind of each column).
- Encoding its columns as inputs: :mod:`.columns`, with :mod:`.columns.encoding`.
- Arrays: :mod:`.arrays`, :mod:`.batches`, :mod:`.lazy` (sparse rows and data sets of the user's own), :mod:`.checks`.
- Data sets on the disk: :mod:`.prepared`. Data sent with a job: :mod:`.upload`.
- Which rows are held out, and the order of the others: :mod:`.hold_out`, :mod:`.epoch_order`.
"""

from distbp.data.batches import from_batches
from distbp.data.dataset import DataSet, Rows
from distbp.data.lazy import RowSource
from distbp.data.loading import load, load_rows, prepare

__all__ = ["DataSet", "RowSource", "Rows", "from_batches", "load", "load_rows", "prepare"]
