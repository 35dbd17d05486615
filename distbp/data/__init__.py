"""Data sets: where rows come from, what their targets are, and in which order a run sees them."""

from distbp.data.batches import from_batches
from distbp.data.dataset import DataSet, Rows
from distbp.data.lazy import RowSource
from distbp.data.loading import load, load_rows, prepare

__all__ = ["DataSet", "RowSource", "Rows", "from_batches", "load", "load_rows", "prepare"]
