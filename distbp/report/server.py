"""The page of a run that is going on, served on this machine alone and kept up to date."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from distbp.errors import DistbpError, UsageError
from distbp.report.page import as_json, new_evaluator, page_data, render_page
from distbp.report.run_files import version_of

_HOST = "127.0.0.1"


class _Watched:
    """What is told of the runs, read again when they have written something."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._evaluator = new_evaluator(paths)
        self._lock = threading.Lock()
        self._version: Any = None
        self._told: dict[str, Any] = {}
        self._number = 0
        self.told()

    def told(self) -> tuple[int, dict[str, Any]]:
        """Return the newest, and a number that grows with every change."""
        with self._lock:
            version = [version_of(path) for path in self._paths]
            if version != self._version:
                try:
                    self._told = page_data(self._paths, self._evaluator, is_live=True)
                    self._version, self._number = version, self._number + 1
                except DistbpError:  # such as a file that is being replaced; the next look finds it whole
                    if not self._told:
                        raise
            return self._number, self._told


class _Handler(BaseHTTPRequestHandler):
    watched: _Watched
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Answer with the page, or with what has changed since the number that is asked with."""
        assert isinstance(self.server, _Server)
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{_HOST}:{port}", f"localhost:{port}"):
            self._answer(403, "text/plain", "this page is for this machine alone")  # a name that was made to lead here
            return
        path, _, known = self.path.partition("?")
        number, told = self.watched.told()
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", render_page({**told, "number": number}))
        elif path == "/told.json" and known == str(number):
            self._answer(204, "application/json", "")
        elif path == "/told.json":
            self._answer(200, "application/json", as_json({**told, "number": number}))
        else:
            self._answer(404, "text/plain", "there is only /")

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
        """Say nothing of requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that goes away in the middle of an answer."""


@contextmanager
def watch(paths: Sequence[Path], port: int = 0) -> Iterator[str]:
    """Serve the page of these runs on 127.0.0.1 until the block ends; give its address. Port 0 takes a free one.

    Raises:
        UsageError: a directory holds no run, or the port is taken.
        RunError: a run's settings cannot be read.
    """
    handler = type("Handler", (_Handler,), {"watched": _Watched(paths)})
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
