"""Requests to a cluster's dashboard: to the machine that was named and no other, and what goes wrong by its name."""

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
_ANOTHER = "is that another port than the dashboard's (8265 by default)"
_MOST_SAID = 200


class Dashboard:
    """The dashboard at ``http://HEAD:8265``.

    The cluster's token goes to no other machine: no redirect is followed, and no proxy is used that could read it, so
    none for plain HTTP; for HTTPS the environment's, and none for this machine.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.is_here = is_this_machine(self.host)
        self.certificates: str | bool = os.environ.get("REQUESTS_CA_BUNDLE") or True
        named = select_proxy(url, get_environ_proxies(url))
        self._proxy = named if parts.scheme == "https" and not self.is_here else None
        self._has_unused_proxy = bool(named) and not self._proxy and not self.is_here
        self._session = requests.Session()
        self._session.trust_env = False  # else proxies, and passwords of a .netrc in the token's place

    def request(self, method: str, path: str, **content: Any) -> requests.Response:
        """Send a request; return the answer of a Ray dashboard, also that it refuses a token (401, 403).

        Raises:
            ClusterError: no dashboard answers; it says what was found instead.
        """
        upload = content.get("data") is not None  # for which the first number would be the time of all of it
        try:
            answer = self._session.request(
                method,
                self.url + path,
                allow_redirects=False,
                timeout=None if upload else (_CONNECT_SECONDS, _ANSWER_SECONDS),
                proxies={"https": self._proxy} if self._proxy else None,
                verify=self.certificates,
                **content,
            )
        except (OSError, HTTPError, ValueError) as error:
            raise ClusterError(self._why(error)) from error
        self._check(answer, method, path)
        return answer

    def _why(self, error: Exception) -> str:
        """Return why there is no answer."""
        causes = list(_causes(error))
        found = _first(causes, ssl.SSLCertVerificationError)
        if found is not None:
            return (
                f"the certificate of {self.url} is not trusted ({found.verify_message}): set REQUESTS_CA_BUNDLE to the "
                "certificates of who signed it"
            )
        if isinstance(error, failures.ProxyError):
            proxy = urlsplit(self._proxy or "")
            return f"the proxy {proxy.hostname}:{proxy.port} does not lead to {self.url}: {_said(causes[-1])}"
        if isinstance(error, failures.SSLError):
            return f"what answers at {self.url} speaks no TLS, or another one: is it http://? ({_said(causes[-1])})"
        no_proxy = "; plain http goes through no proxy, which could read the token" if self._has_unused_proxy else ""
        for kind, what in (
            (gaierror, f"there is no machine called {self.host!r} ({_said(causes[-1])})"),
            (UnicodeError, f"there is no machine called {self.host!r}"),
            (failures.ConnectTimeout, f"nobody answers at {self.url} within {_CONNECT_SECONDS:g} s: is it up?"),
            (failures.ReadTimeout, f"{self.url} takes requests, and does not answer within {_ANSWER_SECONDS:g} s"),
            (ConnectionRefusedError, f"nobody answers at {self.url}: is the cluster up, and the tunnel to it?"),
            (
                ConnectionResetError,
                f"what listens at {self.url} ends the connection: {_ANOTHER}, or a tunnel to nothing?",
            ),
            (HTTPException, f"what answers at {self.url} speaks no HTTP: {_ANOTHER}?"),
        ):
            if _first(causes, kind) is not None:
                return what + no_proxy
        return f"{self.url} cannot be reached: {_said(causes[-1])}{no_proxy}"

    def _check(self, answer: requests.Response, method: str, path: str) -> None:
        """Refuse an answer that is none of a Ray dashboard's."""
        status = answer.status_code
        if 300 <= status < 400:
            to = urlsplit(answer.headers.get("Location", ""))
            where = f"{to.scheme}://{to.hostname}" if to.hostname else "another page"
            raise self._no_dashboard(f"it sends on to {_short(where)}, perhaps a login")
        if status in (401, 403) and "authentication token" not in answer.text:
            raise self._no_dashboard(f"it wants a login that is not Ray's (HTTP {status})")
        if status in _GATEWAY:
            what = f"what stands before it answers HTTP {status} ({_short(str(answer.reason))})"
            raise ClusterError(f"the cluster at {self.url} is not reached: {what}; is it up?")
        if status == 404 and path in _IN_JSON:
            raise self._no_dashboard(f"it knows no {path}")
        if status == 200 and method == "GET" and path in _IN_JSON:
            self._check_content(answer, path)

    def _check_content(self, answer: requests.Response, path: str) -> None:
        try:
            content = answer.json()
        except ValueError:
            is_page = answer.content.lstrip()[:1] == b"<"
            what = "a page for people came, perhaps a login" if is_page else "what came is no JSON"
            raise self._no_dashboard(what) from None
        if path == "/api/version":
            fits = isinstance(content, dict) and isinstance(content.get("ray_version"), str)
        else:
            fits = isinstance(content, list) and all(isinstance(each, dict) for each in content)
        if not fits:
            raise self._no_dashboard("it speaks JSON of another kind")

    def _no_dashboard(self, why: str) -> ClusterError:
        return ClusterError(f"what answers at {self.url} is no Ray dashboard: {why}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what lies under it, the innermost last."""
    found: BaseException | None = error
    while found is not None:
        yield found
        inner = [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
        found = next((each for each in inner if isinstance(each, BaseException)), None)


def _first(causes: list[BaseException], kind: type[BaseException]) -> Any:
    return next((each for each in causes if isinstance(each, kind)), None)


def _said(error: BaseException) -> str:
    return _short(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _short(text: str) -> str:
    """Return a stranger's words as one short line."""
    return "".join(each if each.isprintable() else " " for each in text)[:_MOST_SAID]
