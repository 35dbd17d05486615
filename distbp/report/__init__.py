"""Runs as one page for a browser: self-contained, written to a file or served while a run goes on."""

from distbp.report.page import page_data, render_page, write_page
from distbp.report.server import watch

__all__ = ["page_data", "render_page", "watch", "write_page"]
