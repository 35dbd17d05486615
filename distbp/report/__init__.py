"""Runs as one page for a browser: self-contained, written to a file or served while a run goes on."""

from distbp.report.page import page_of, told_of, write_page
from distbp.report.watching import watch

__all__ = ["page_of", "told_of", "watch", "write_page"]
