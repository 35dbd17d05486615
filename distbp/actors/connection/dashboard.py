"""Requests to a cluster's dashboard, sent to the named machine and no other; every failure has its own message."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from http.client import HTTPException
from socket import gaierror
from typing import Any
from urllib.parse import urlsplit

import requests
from requests import exceptions as failures
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from distbp.actors.connection.addresses import is_this_machine
from distbp.errors import ClusterError

_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 60.0
_IN_JSON = ("/api/jobs/", "/api/version")
_GATEWAY = (502, 503, 504)
_WRONG_PORT = "is this the dashboard's port (8265 by default)"
_LONGEST_TEXT = 200


class Dashboard:
    """The dashboard at ``http://HEAD:8265``.

    The cluster's token must reach no other machine. So requests follow no redirects, and use the environment's proxy
    for HTTPS to other machines alone: a proxy could read the token in plain HTTP.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.is_local = is_this_machine(self.host)
        self.certificates: str | bool = os.environ.get("REQUESTS_CA_BUNDLE") or True
        proxy = select_proxy(url, get_environ_proxies(url))
        self._proxy = proxy if parts.scheme == "https" and not self.is_local else None
        self._has_unused_proxy = bool(proxy) and not self._proxy and not self.is_local
        self._session = requests.Session()
        self._session.trust_env = False  # else a proxy is used, and a .netrc password replaces the token

    def request(self, method: str, path: str, **content: Any) -> requests.Response:
        """Send a request; return the dashboard's response, including one that refuses the token (401, 403).

        Raises:
            ClusterError: no Ray dashboard answers; the message names what does, or why nothing does.
        """
        is_upload = content.get("data") is not None  # a connect timeout would limit the whole upload
        try:
            answer = self._session.request(
                method,
                self.url + path,
                allow_redirects=False,
                timeout=None if is_upload else (_CONNECT_SECONDS, _ANSWER_SECONDS),
                proxies={"https": self._proxy} if self._proxy else None,
                verify=self.certificates,
                **content,
            )
        except (OSError, HTTPError, ValueError) as error:
            raise ClusterError(self._why(error)) from error
        self._check(answer, method, path)
        return answer

    def _why(self, error: Exception) -> str:
        """Return why the request failed."""
        causes = list(_causes(error))
        untrusted = _first(causes, ssl.SSLCertVerificationError)
        if untrusted is not None:
            return (
                f"the certificate of {self.url} is not trusted ({untrusted.verify_message}): set REQUESTS_CA_BUNDLE to "
                "the certificates of its authority"
            )
        if isinstance(error, failures.ProxyError):
            proxy = urlsplit(self._proxy or "")
            return f"the proxy {proxy.hostname}:{proxy.port} does not reach {self.url}: {_text(causes[-1])}"
        if isinstance(error, failures.SSLError):
            return f"no TLS connection to {self.url}: is it http://? ({_text(causes[-1])})"
        no_proxy = "; plain HTTP bypasses the proxy, which could read the token" if self._has_unused_proxy else ""
        for kind, what in (
            (gaierror, f"the host name {self.host!r} is unknown ({_text(causes[-1])})"),
            (UnicodeError, f"the host name {self.host!r} is unknown"),
            (failures.ConnectTimeout, f"no connection to {self.url} within {_CONNECT_SECONDS:g} s: is it up?"),
            (failures.ReadTimeout, f"{self.url} accepts requests, but does not answer within {_ANSWER_SECONDS:g} s"),
            (ConnectionRefusedError, f"{self.url} refuses connections: is the cluster up, and the tunnel to it?"),
            (
                ConnectionResetError,
                f"the server at {self.url} closes the connection: {_WRONG_PORT}, or a tunnel to nothing?",
            ),
            (HTTPException, f"the server at {self.url} does not speak HTTP: {_WRONG_PORT}?"),
        ):
            if _first(causes, kind) is not None:
                return what + no_proxy
        return f"cannot reach {self.url}: {_text(causes[-1])}{no_proxy}"

    def _check(self, answer: requests.Response, method: str, path: str) -> None:
        """Refuse a response that no Ray dashboard sends."""
        status = answer.status_code
        if 300 <= status < 400:
            to = urlsplit(answer.headers.get("Location", ""))
            target = f"{to.scheme}://{to.hostname}" if to.hostname else "another page"
            raise self._no_dashboard(f"it redirects to {_short(target)}, perhaps a login")
        if status in (401, 403) and "authentication token" not in answer.text:
            raise self._no_dashboard(f"it asks for a login that is not Ray's (HTTP {status})")
        if status in _GATEWAY:
            raise ClusterError(
                f"cannot reach the cluster at {self.url}: a gateway in front of it answers HTTP {status} "
                f"({_short(str(answer.reason))}); is the cluster up?"
            )
        if status == 404 and path in _IN_JSON:
            raise self._no_dashboard(f"it has no {path}")
        if status == 200 and method == "GET" and path in _IN_JSON:
            self._check_content(answer, path)

    def _check_content(self, answer: requests.Response, path: str) -> None:
        try:
            content = answer.json()
        except ValueError:
            is_page = answer.content.lstrip()[:1] == b"<"
            raise self._no_dashboard(
                "it answers with a web page, perhaps a login" if is_page else "its answer is not JSON"
            ) from None
        if path == "/api/version":
            fits = isinstance(content, dict) and isinstance(content.get("ray_version"), str)
        else:
            fits = isinstance(content, list) and all(isinstance(each, dict) for each in content)
        if not fits:
            raise self._no_dashboard("its JSON is not Ray's")

    def _no_dashboard(self, why: str) -> ClusterError:
        return ClusterError(f"the server at {self.url} is not a Ray dashboard: {why}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the innermost last."""
    current: BaseException | None = error
    while current is not None:
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        current = next((each for each in inner if isinstance(each, BaseException)), None)


def _first(causes: list[BaseException], kind: type[BaseException]) -> Any:
    return next((each for each in causes if isinstance(each, kind)), None)


def _text(error: BaseException) -> str:
    return _short(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _short(text: str) -> str:
    """Return untrusted text as one short, printable line."""
    return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST_TEXT]
