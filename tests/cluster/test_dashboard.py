"""Requests to a dashboard: every wrong server has its own message, and the token reaches no other machine."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from processes import HANG_SECONDS

pytest.importorskip("requests", reason="it comes with Ray")

from distbp.actors.connection.dashboard import Dashboard
from distbp.errors import ClusterError

Answer = tuple[int, dict[str, str], bytes]
TOKEN = "0123456789abcdef0123456789abcdef"


class Server:
    """An HTTP server that records the path and the token of every request."""

    def __init__(self, answer: Callable[[str, str | None], Answer], certificate: Path | None = None) -> None:
        self.asked: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = self.headers.get("Authorization")
                server.asked.append((self.path, token))
                status, headers, body = answer(self.path, token)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_CONNECT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:  # clients without TLS close the connection
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' * (certificate is not None)}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(answer: Callable[[str, str | None], Answer] | Answer, certificate: Path | None = None) -> Server:
        made.append(Server(answer if callable(answer) else lambda path, token: answer, certificate))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*os.environ,):
        if name.lower().endswith("_proxy") or name.startswith("RAY_AUTH") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = tmp_path_factory.mktemp("tls") / "own.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    out = ["-keyout", str(made.with_suffix(".key")), "-out", str(made)]
    subprocess.run(["openssl", *words.split(), *out], check=True, capture_output=True)
    return made


def message_for(url: str) -> str:
    """Return the error message for this address after both requests of a command."""
    with pytest.raises(ClusterError) as message:
        for path in ("/api/jobs/", "/api/version"):
            Dashboard(url).request("GET", path, headers={})
    assert len(str(message.value).splitlines()) == 1
    return str(message.value).replace(url, "URL")


PAGE = b"<html>Please log in</html>"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {}, PAGE), "the server at URL is not a Ray dashboard: it answers with a web page, perhaps a login"),
        ((200, {}, b"hello"), "the server at URL is not a Ray dashboard: its answer is not JSON"),
        ((200, {}, b"[]"), "the server at URL is not a Ray dashboard: its JSON is not Ray's"),
        ((200, {}, b'{"version": 4}'), "the server at URL is not a Ray dashboard: its JSON is not Ray's"),
        ((200, {}, b"[1]"), "the server at URL is not a Ray dashboard: its JSON is not Ray's"),
        ((404, {}, b"default backend"), "the server at URL is not a Ray dashboard: it has no /api/jobs/"),
        ((401, {}, PAGE), "the server at URL is not a Ray dashboard: it asks for a login that is not Ray's (HTTP 401)"),
        (
            (302, {"Location": "https://me:secret@sso.example/login?x=1"}, b""),
            "the server at URL is not a Ray dashboard: it redirects to https://sso.example, perhaps a login",
        ),
        ((307, {"Location": "/login"}, b""), "the server at URL is not a Ray dashboard: it redirects to another page"),
        (
            (502, {}, PAGE),
            "cannot reach the cluster at URL: a gateway in front of it answers HTTP 502 (Bad Gateway); is",
        ),
    ],
    ids=lambda each: str(each[0]) if isinstance(each, tuple) else "",
)
def test_wrong_answers_have_their_own_message(serve, answer, expected):
    assert message_for(serve(answer).url).startswith(expected)


def test_tls_errors_have_their_own_message(serve, certificate, monkeypatch):
    secure, plain = serve((200, {}, b"[]"), certificate), serve((200, {}, b"[]"))
    assert message_for(secure.url).startswith(
        "the certificate of URL is not trusted (self-signed certificate): set REQUESTS_"
    )
    assert message_for(f"https://127.0.0.1:{plain.port}").startswith("no TLS connection to URL: is it http://")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    assert "/nowhere.pem" in message_for(secure.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert message_for(secure.url) == "the server at URL is not a Ray dashboard: its JSON is not Ray's"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            b"SSH-2.0-OpenSSH_9\r\n",
            "the server at URL does not speak HTTP: is this the dashboard's port (8265",
        ),
        (
            b"",
            "the server at URL closes the connection: is this the dashboard's port (8265 by default), or",
        ),
    ],
    ids=["ssh", "a tunnel to nothing"],
)
def test_servers_that_do_not_speak_http_have_their_own_message(words, expected):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        assert message_for(f"http://127.0.0.1:{listener.getsockname()[1]}").startswith(expected)
        thread.join()


def test_unreachable_addresses_have_their_own_message():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert message_for(url) == "URL refuses connections: is the cluster up, and the tunnel to it?"
    assert message_for("http://no-such-host.invalid:8265").startswith(
        "the host name 'no-such-host.invalid' is unknown ("
    )
    assert message_for(f"http://{'a' * 70}.invalid:8265") == f"the host name '{'a' * 70}.invalid' is unknown"


def test_no_proxy_is_used_for_this_machine_or_plain_http(serve, certificate, monkeypatch):
    proxy = serve((200, {}, b"[]"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for url in (serve((200, {}, b"hello")).url, serve((200, {}, b"hello"), certificate).url):
        message_for(url)
        message_for(url.replace("127.0.0.1", "localhost"))
    message = message_for("http://no-such-host.invalid:8265")
    assert message.endswith("; plain HTTP bypasses the proxy, which could read the token")
    ours = (
        "127.0.0.1",
        "localhost",
        "no-such-host.invalid",
    )  # ONNX Runtime asks for others
    assert [path for path, _ in proxy.asked if any(host in path for host in ours)] == []


def test_a_proxy_that_does_not_reach_the_cluster_has_its_own_message(serve, monkeypatch):
    proxy = serve((503, {}, b""))
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:secret@"))
    message = message_for("https://head.invalid:8265")
    assert message.startswith(f"the proxy 127.0.0.1:{proxy.port} does not reach URL: ")
    assert "secret" not in message
    assert [path for path, _ in proxy.asked] == ["head.invalid:8265"]  # so the token is sent inside TLS alone


def protected(path: str, token: str | None) -> Answer:
    """Answer like the dashboard of a protected Ray cluster."""
    if token is None:
        return 401, {}, b"Unauthorized: Missing authentication token"
    if token != f"Bearer {TOKEN}":
        return 403, {}, b"Forbidden: Invalid authentication token"
    content = {"ray_version": "2.60.0", "version": "4"} if path == "/api/version" else []
    return 200, {}, json.dumps(content).encode()


def jobs(url: str, token: str = TOKEN, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "distbp", "jobs", "--address", url],
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, **environment},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )


def test_the_token_is_sent_to_the_dashboard_alone(serve):
    pytest.importorskip("aiohttp", reason="distbp[cluster] is not installed")
    other, dashboard = serve((200, {}, b"[]")), serve(protected)
    done = jobs(dashboard.url, http_proxy=other.url, HTTP_PROXY=other.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert dashboard.asked[0] == ("/api/jobs/", None)
    assert set(dashboard.asked[1:]) == {("/api/version", f"Bearer {TOKEN}"), ("/api/jobs/", f"Bearer {TOKEN}")}

    def sent_on(path: str, token: str | None) -> Answer:
        return protected(path, token) if token is None else (307, {"Location": f"{other.url}{path}"}, b"")

    done = jobs(serve(sent_on).url)
    assert done.returncode == 1
    assert re.fullmatch(
        r"Error: the server at \S+ is not a Ray dashboard: it redirects to http://127.0.0.1.*\n", done.stderr
    )
    assert other.asked == []


def test_a_refused_token_has_its_own_message(serve):
    pytest.importorskip("aiohttp", reason="distbp[cluster] is not installed")
    done = jobs(serve(protected).url, token="f" * 32)
    assert done.returncode == 1
    assert done.stderr.endswith("refuses this token: set RAY_AUTH_TOKEN or --token-file to its token\n")
    assert len(done.stderr.splitlines()) == 1
