"""Reports of runs as self-contained HTML pages, written to a file or served during a run."""

from distbp.report.page import render_page, write_page
from distbp.report.page_data import page_data
from distbp.report.server import serve_page

__all__ = ["page_data", "render_page", "serve_page", "write_page"]
