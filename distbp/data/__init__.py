"""Data sets: where rows come from, what their targets are, and in which order a run sees them."""

from distbp.data.dataset import DataSet, Rows
from distbp.data.loading import load, load_rows, prepare

__all__ = ["DataSet", "Rows", "load", "load_rows", "prepare"]
