"""HTTP server for the live report of unfinished runs; it accepts connections from this machine only."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from distbp.errors import DistbpError, UsageError
from distbp.report.page import as_json, render_page
from distbp.report.page_data import new_evaluator, page_data
from distbp.report.run_files import version_of

_HOST = "127.0.0.1"


class _LiveData:
    """Data of the page, reread after a run has changed its files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._evaluator = new_evaluator(paths)
        self._lock = threading.Lock()
        self._version: Any = None
        self._data: dict[str, Any] = {}
        self._number = 0
        self.read()

    def read(self) -> tuple[int, dict[str, Any]]:
        """Return a number that grows with every change, and the current data."""
        with self._lock:
            version = [version_of(path) for path in self._paths]
            if version != self._version:
                try:
                    self._data = page_data(self._paths, self._evaluator, is_live=True)
                    self._version, self._number = version, self._number + 1
                except DistbpError:  # a file is being replaced; the next request reads it whole
                    if not self._data:
                        raise
            return self._number, self._data


class _Handler(BaseHTTPRequestHandler):
    live_data: _LiveData
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Send the page, or its data if they have changed since the number in the query."""
        assert isinstance(self.server, _Server)
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{_HOST}:{port}", f"localhost:{port}"):
            self._answer(403, "text/plain", "this page is served to this machine only")  # against DNS rebinding
            return
        path, _, known = self.path.partition("?")
        number, data = self.live_data.read()
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", render_page({**data, "number": number}))
        elif path == "/data.json" and known == str(number):
            self._answer(204, "application/json", "")
        elif path == "/data.json":
            self._answer(200, "application/json", as_json({**data, "number": number}))
        else:
            self._answer(404, "text/plain", "not found: the page is at /")

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that disconnects during a response."""


@contextmanager
def serve_page(paths: Sequence[Path], port: int = 0) -> Iterator[str]:
    """Serve the page of these runs on 127.0.0.1 until the block ends, and yield its URL. Port 0 takes any free port.

    Raises:
        UsageError: a directory contains no run, or the port is in use.
        RunError: a run's settings cannot be read.
    """
    handler = type("Handler", (_Handler,), {"live_data": _LiveData(paths)})
    try:
        server = _Server((_HOST, port), handler)
    except OSError as error:
        raise UsageError(f"--port {port} cannot be used: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
