"""Rendering of a report: one HTML file with its data as JSON, its styles and its scripts.

The page's content security policy allows only its own scripts, by hash, and no network connections. Names that come
from data are JSON text and never HTML.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from distbp.files.atomic import atomic_write

_STYLES = ("uplot.min.css", "page.css")
_SCRIPTS = ("uplot.min.js", "charts.js", "sections.js", "page.js")


def as_json(data: Mapping[str, Any]) -> str:
    """Return JSON that is safe inside a script element: it contains no ``<``, ``>`` or ``&``."""
    plain = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def render_page(data: Mapping[str, Any]) -> str:
    """Return the HTML of a page with this data."""
    styles = [_asset(name) for name in _STYLES]
    scripts = [_asset(name) for name in _SCRIPTS]
    sources = "connect-src 'self'; " if data["live"] else ""
    policy = (
        f"default-src 'none'; {sources}img-src data:; style-src {_hashes(styles)}; script-src {_hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )
    title = html.escape(" and ".join(run["name"] for run in data["runs"]))
    head = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{title} · distbp report</title>",
        *(f"<style>{style}</style>" for style in styles),
        '<div id="page"></div>',
        "<noscript><p>This page draws its charts with its own scripts. Please enable JavaScript.</p></noscript>",
        f'<script type="application/json" id="data">{as_json(data)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
    ]
    return "\n".join(head) + "\n"


def write_page(path: Path, data: Mapping[str, Any]) -> None:
    """Write a page with this data to a file, atomically.

    Raises:
        RunError: the file cannot be written.
    """
    page = render_page(data).encode("utf-8", "replace")
    with atomic_write(path) as partial:
        partial.write_bytes(page)


@cache
def _asset(name: str) -> str:
    return (files("distbp.report") / "assets" / name).read_text(encoding="utf-8")


def _hashes(texts: Sequence[str]) -> str:
    digests = (hashlib.sha256(each.encode()).digest() for each in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
